"""What `benchmarks.train_step` prints; `python -m benchmarks.report FILE` prints it again."""

import json
import pathlib
import sys
from typing import Any


def describe(result: dict[str, Any]) -> str:
    """A result of `measure` as text.

    Columns: images per second; the share of the matrix peak that the step's arithmetic makes use
    of; the peak of memory while training; seconds from a built network to the end of its first
    step.
    """
    settings, hardware = result["settings"], result["hardware"]
    peak = result["matrix_peak_flops_per_second"]
    lines = [
        f"{settings['model']}, width {settings['width']}, batch {settings['batch_size']}, "
        f"{settings['image_size']} pixels, {settings['compute_dtype']}, "
        f"augmentation {'on' if settings['augment'] else 'off'}; "
        f"{settings['repeats']} turns of {settings['steps']} steps",
        f"{hardware['device']} ({hardware['cpu']}, {hardware['cpu_cores']} cores), "
        f"matrix peak {peak / 1e9:,.0f} GFLOP/s; "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        "",
        f"{'method':14}{'implementation':30}{'images/s':>10}{'of peak':>9}{'memory':>10}"
        f"{'first step':>12}",
    ]
    for method, measured in result["methods"].items():
        for name, numbers in measured["implementations"].items():
            lines.append(
                f"{method:14}{name:30}{numbers['images_per_second']:10,.1f}"
                f"{numbers['share_of_matrix_peak']:9.1%}"
                f"{numbers['peak_memory_bytes'] / 2**30:6.2f} GiB"
                f"{numbers['first_step_seconds']:10.1f} s"
            )
    lines.append("")
    for label, ratio in result["ratios"].items():
        lines.append(
            f"{label}: {ratio['median']:.3f} ({ratio['minimum']:.3f} to {ratio['maximum']:.3f})"
        )
    lines.append("")
    for method, measured in result["methods"].items():
        ours = next(iter(measured["implementations"].values()))
        lines.append(
            f"{method}: {measured['parameters']:,} parameters, "
            f"{measured['flops_per_image'] / 1e9:.3f} GFLOP per image, "
            f"input {ours['input_share']:.2%} of the step, "
            f"XLA compiled in {_compile_seconds(measured['implementations'])}"
            + _describe_agreement(measured["agreement"])
        )
    return "\n".join(lines)


def _compile_seconds(implementations: dict[str, Any]) -> str:
    seconds = {
        name: numbers["compile_seconds"]
        for name, numbers in implementations.items()
        if "compile_seconds" in numbers
    }
    first, *others = seconds
    text = f"{seconds[first]:.1f} s"
    return text + "".join(f" ({name}: {seconds[name]:.1f} s)" for name in others)


def _describe_agreement(agreement: dict[str, Any] | None) -> str:
    if agreement is None:
        return ", not compared with PyTorch"
    return (
        f", agrees with PyTorch to {agreement['loss']:.0e} in the loss "
        f"and {agreement['gradient']:.0e} in the gradients"
    )


if __name__ == "__main__":
    for file in sys.argv[1:]:
        print(describe(json.loads(pathlib.Path(file).read_text())))
