"""Pictures of an evaluation; they need matplotlib."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skdsam_jax.report.drawing import (
    COLOURS,
    HEIGHT,
    WIDTH,
    Picture,
    look,
    note,
    render,
    shortened,
)
from skdsam_jax.report.series import (
    any_exit_curve,
    confusion_shares,
    exit_points,
    frequent_confusions,
    operating_points,
    reliability_points,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Names of more classes cannot be read; the classes that are confused most often are named instead.
_MOST_NAMES = 30
_MOST_CONFUSIONS = 12

# Of the sheet of mistakes.
_COLUMNS = 4

Result = Mapping[str, Any]


def draw(result: Result, folder: pathlib.Path) -> list[Picture]:
    """Accuracy against FLOPs, reliability, confusion matrix and the worst mistakes.

    Args:
      result: as `evaluation.json` holds it.
      folder: where that is, and with it the pictures of the mistakes.

    Returns:
      The pictures; none of mistakes where there is none, or where they were not recorded.
    """
    classes, mistakes = len(result["class_accuracies"]), result.get("worst_mistakes", [])
    title = [
        f"{result['method']} on {result['model']}, step {result['step']}",
        f"{result['examples']:,} images of {result['dataset']}, split {result['split']}",
    ]
    drawn = [
        ("accuracy_against_flops", "Accuracy against FLOPs", _accuracy_against_flops, HEIGHT),
        ("reliability", "Reliability diagram", _reliability, WIDTH),
        (
            "confusion_matrix",
            "Confusion matrix of the deepest exit",
            _confusion,
            WIDTH if classes <= _MOST_NAMES else WIDTH + 0.4 + 0.19 * _MOST_CONFUSIONS,
        ),
    ]
    if mistakes:
        rows = -(-len(mistakes) // _COLUMNS)

        def fill(figure: "Figure", result: Result) -> None:
            _sheet(figure, result, folder, rows)

        drawn.append(("worst_mistakes", "Worst mistakes", fill, 0.6 + 1.75 * rows))
    return [
        Picture(
            name,
            f"{what}: {', '.join(title)}",
            render(title, lambda figure, fill=fill: fill(figure, result), height),
        )
        for name, what, fill, height in drawn
    ]


def _accuracy_against_flops(figure: "Figure", result: Result) -> None:
    axes = figure.add_subplot()
    if len(result["exits"]) > 1:
        axes.plot(
            *any_exit_curve(result), color=COLOURS[0], label="leaving at the first confident exit"
        )
    axes.plot(*exit_points(result), "o--", color=COLOURS[1], label="one exit alone")
    chosen = operating_points(result)
    if len(chosen[0]):
        axes.plot(*chosen, "k*", markersize=8, label="chosen on the validation split")
    axes.set(xlabel="million FLOPs per image", ylabel="accuracy, %")
    axes.legend()


def _reliability(figure: "Figure", result: Result) -> None:
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], color="0.45", linestyle=":", label="calibrated")
    for number, exit_ in enumerate(result["exits"]):
        label = f"exit {exit_['exit']}, error {100 * exit_['calibration_error']:.1f} %"
        axes.plot(*reliability_points(exit_), label=label, **look(number))
    axes.set(
        xlabel="confidence, %", ylabel="accuracy, %", xlim=(0, 100), ylim=(0, 100), aspect="equal"
    )
    axes.legend(loc="upper left")


def _confusion(figure: "Figure", result: Result) -> None:
    names = [shortened(name, 20) for name in result["class_accuracies"]]
    if len(names) <= _MOST_NAMES:
        axes = figure.add_subplot()
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        _matrix(axes, result)
        return
    # Each with margins of its own, so that long names do not make the matrix smaller.
    upper, lower = figure.subfigures(2, height_ratios=(WIDTH, 0.4 + 0.19 * _MOST_CONFUSIONS))
    axes, below = upper.add_subplot(), lower.add_subplot()
    _matrix(axes, result)
    axes.set(xlabel="predicted class, by its number", ylabel="true class, by its number")
    pairs = frequent_confusions(result, _MOST_CONFUSIONS)
    if not pairs:
        note(below, "no mistakes")
        return
    below.barh(range(len(pairs)), [100 * pair.share for pair in pairs], color=COLOURS[0])
    words = [
        f"{shortened(pair.true_class, 20)} → {shortened(pair.predicted_class, 20)}"
        for pair in pairs
    ]
    below.set_yticks(range(len(pairs)), words, fontsize=7)
    below.invert_yaxis()
    below.grid(visible=False, axis="y")
    below.set(xlabel="taken for the other class, % of the true class")


def _matrix(axes: "Axes", result: Result) -> None:
    from matplotlib.colors import PowerNorm

    # The square root: else one example of a hundred could not be told from none.
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    image = axes.imshow(confusion_shares(result), cmap="Blues", norm=norm, interpolation="nearest")
    bar = axes.figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.7)
    bar.set_ticks([0, 1, 5, 10, 25, 50, 100])
    axes.grid(visible=False)
    axes.set(xlabel="predicted class", ylabel="true class")


def _sheet(figure: "Figure", result: Result, folder: pathlib.Path, rows: int) -> None:
    from matplotlib.image import imread

    places = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in places:
        axes.set_axis_off()
    for axes, mistake in zip(places, result["worst_mistakes"], strict=False):
        if (folder / mistake["thumbnail"]).is_file():
            axes.imshow(imread(folder / mistake["thumbnail"]), interpolation="nearest")
        else:
            note(axes, "no picture")
        words = [
            shortened(mistake["true_class"], 18),
            f"→ {shortened(mistake['predicted_class'], 16)}",
            f"{100 * mistake['confidence']:.1f} %, {shortened(name_of(mistake), 20)}",
        ]
        axes.set_title("\n".join(words), fontsize=6)


def name_of(mistake: Mapping[str, Any]) -> str:
    """What the picture is called: its file, or its number in the split."""
    return mistake["file"] or f"no. {mistake['index']}"
