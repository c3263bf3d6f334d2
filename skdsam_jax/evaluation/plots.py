"""Pictures of an evaluation; they need matplotlib, the extra `plots`."""

import importlib.util
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES = (6, 4.5)
_DOTS_PER_INCH = 150

# Names of more classes cannot be read.
_MOST_NAMES = 30


def available() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(result: Mapping[str, Any], folder: pathlib.Path) -> list[pathlib.Path]:
    """Draws accuracy against FLOPs, reliability diagrams and the confusion matrix.

    Args:
      result: as `evaluation.json` holds it.
      folder: where to.

    Returns:
      The files.
    """
    # Without pyplot, which looks for a display and keeps every figure.
    from matplotlib.figure import Figure

    files = []
    for name, fill in _PICTURES.items():
        figure = Figure(_INCHES, _DOTS_PER_INCH, layout="constrained")
        fill(figure.add_subplot(), result)
        files.append(folder / f"{name}.png")
        figure.savefig(files[-1])
    return files


def _accuracy_against_flops(axes: "Axes", result: Mapping[str, Any]) -> None:
    exits, any_exit = result["exits"], result["any_exit"]
    curve = any_exit["curve"]
    axes.plot(
        [point["mean_flops"] / 1e6 for point in curve],
        [100 * point["accuracy"] for point in curve],
        label="leaving at the first confident exit",
    )
    axes.plot(
        [exit_["flops"] / 1e6 for exit_ in exits],
        [100 * exit_["accuracy"] for exit_ in exits],
        "o--",
        label="one exit alone",
    )
    chosen = [point["measured"] for point in any_exit["operating_points"]]
    if chosen:
        axes.plot(
            [point["mean_flops"] / 1e6 for point in chosen],
            [100 * point["accuracy"] for point in chosen],
            "k*",
            label="chosen on the validation split",
        )
    axes.set(xlabel="million FLOPs per image", ylabel="accuracy in %")
    axes.legend()
    axes.grid(alpha=0.3)


def _reliability(axes: "Axes", result: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], "k:", label="calibrated")
    for exit_ in result["exits"]:
        bins = {name: np.array(values) for name, values in exit_["reliability"].items()}
        filled = bins["count"] > 0
        confidence, correct = (
            bins[name][filled] / bins["count"][filled] for name in ("confidence", "correct")
        )
        label = f"exit {exit_['exit']}, error {100 * exit_['calibration_error']:.1f} %"
        axes.plot(confidence, correct, "o-", label=label)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    axes.grid(alpha=0.3)


def _confusion(axes: "Axes", result: Mapping[str, Any]) -> None:
    counts = np.array(result["confusion_matrix"], float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(100 * shares, vmin=0, vmax=100)
    axes.figure.colorbar(image, label="% of the true class")
    axes.set(xlabel="predicted class", ylabel="true class")
    names = list(result["class_accuracies"])
    if len(names) <= _MOST_NAMES:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)


_PICTURES = {
    "accuracy_against_flops": _accuracy_against_flops,
    "reliability": _reliability,
    "confusion_matrix": _confusion,
}
