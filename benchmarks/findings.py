"""What the files of `benchmarks.everything` say of what was aimed at, as a table."""

import statistics
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.measure import OURS
from benchmarks.peaks import known_peak

# Of docs/performance.md; on a GPU, by what PyTorch does.
_AIMS = {"pytorch_eager": "at least 2", "pytorch_compile": "at least 1.2"}


class Finding(NamedTuple):
    """A line of the table.

    Attributes:
      what: was measured.
      aim: what was aimed at; empty where nothing was.
      value: what was measured, as text.
    """

    what: str
    aim: str
    value: str


def describe(results: Mapping[str, Any]) -> str:
    """The table.

    Args:
      results: what the files hold, by name of the part.
    """
    found = [finding for name, result in results.items() for finding in findings(name, result)]
    if not found:
        return "nothing was measured"
    width = max(len(finding.what) for finding in found) + 2
    return "\n".join(f"{what:{width}}{aim:16}{value}" for what, aim, value in found)


def findings(name: str, result: Mapping[str, Any]) -> Iterator[Finding]:
    """The lines of one part."""
    kinds = {
        "train_step": _of_steps,
        "epoch": _of_epochs,
        "dispatch": _of_dispatch,
        "checks": _of_checks,
        "startup": _of_startup,
    }
    kind = next(kind for kind in kinds if name.startswith(kind))
    yield from kinds[kind](result)


def _of_steps(result: Mapping[str, Any]) -> Iterator[Finding]:
    settings, hardware = result["settings"], result["hardware"]
    on_gpu = hardware["platform"] != "cpu"
    for label, ratio in result["ratios"].items():
        other = label.rpartition(" ")[2]
        aim = _AIMS.get(other, "") if on_gpu else ""
        value = f"{ratio['median']:.2f} ({ratio['minimum']:.2f} to {ratio['maximum']:.2f})"
        yield Finding(f"{settings['model']}, {label}", aim, value)
    peak = known_peak(hardware["device"], settings["compute_dtype"])
    for method, measured in result["methods"].items():
        for implementation, numbers in measured["implementations"].items():
            rate = numbers["images_per_second"]
            value = f"{rate:,.0f} images/s, {numbers['share_of_matrix_peak']:.1%} of measured peak"
            if peak is not None:
                value += f", {rate * measured['flops_per_image'] / peak:.1%} of the card's"
            value += f", {numbers['peak_memory_bytes'] / 2**30:.2f} GiB"
            if implementation == OURS:
                value += f", first step {numbers['first_step_seconds']:.1f} s"
            yield Finding(f"{settings['model']}, {method}, {implementation}", "", value)


def _of_epochs(result: Mapping[str, Any]) -> Iterator[Finding]:
    what = f"{result['model']}, {result['method']}"
    value = (
        f"{statistics.median(result['epoch_seconds']):.2f} s an epoch, "
        f"{result['images_per_second_of_epoch']:,.0f} images/s with evaluation, the first after "
        f"{result['first_epoch_seconds']:.1f} s"
    )
    yield Finding(f"{what}, a whole epoch", "", value)
    aim = "at most 10 min" if result["hardware"]["platform"] != "cpu" else ""
    yield Finding(f"{what}, 250 epochs", aim, f"{result['predicted_seconds'] / 60:.1f} min")


def _of_dispatch(result: Mapping[str, Any]) -> Iterator[Finding]:
    for count, speed in result["speed_over_the_first"].items():
        rate = result["images_per_second"][count]
        value = f"{rate:,.0f} images/s, {speed:.2f} times the first"
        yield Finding(f"{result['settings']['method']}, {count} step(s) per call", "", value)


def _of_checks(result: Mapping[str, Any]) -> Iterator[Finding]:
    for method, checked in result["methods"].items():
        for claim, holds in checked["holds"].items():
            yield Finding(f"{method}, {claim}", "yes", "yes" if holds else "NO")


def _of_startup(result: Mapping[str, Any]) -> Iterator[Finding]:
    yield Finding("command to first step, no caches", "", f"{result['cold_seconds']:.1f} s")
    warm = statistics.median(result["warm_seconds"])
    yield Finding("command to first step, the second time", "", f"{warm:.1f} s")
