"""Says whether a change made training slower: `python -m benchmarks.compare`.

Repeats every measurement of `recorded.json` that was recorded on this kind of device, with the same
settings, and compares the ratios: this library over PyTorch, and each method over the first. Exit
code 1 if one is lower than recorded by more than the tolerance, which has to cover the noise of
the machine. Times themselves are not compared: they belong to one machine and one day.

To record after an intended change:

    python -m benchmarks.train_step --json new.json
    python -m benchmarks.compare --result new.json --record
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import train_step
from benchmarks.measure import find_platform, measure
from benchmarks.options import make_parser

# How often something is measured, and how it is computed here, do not change what is measured.
_OTHER_SETTINGS = ("repeats", "steps", "memory_steps", "convolution", "steps_per_dispatch")

RECORDED = pathlib.Path(__file__).with_name("recorded.json")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = make_parser("compare", __doc__)
    add = options.add_argument
    add("--result", metavar="FILE", help="what train_step --json wrote, instead of measuring now")
    add("--record", action="store_true", help="keep the result's ratios instead of comparing")
    add("--recorded", metavar="FILE", default=str(RECORDED))
    add("--tolerance", type=float, default=0.05, help="the share that may be lost; default 0.05")
    return options


def entry_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of a result: how to repeat it, and the medians of its ratios."""
    return {
        "command": result["command"],
        "settings": result["settings"] | {"methods": list(result["methods"])},
        "hardware": result["hardware"],
        "versions": result["versions"],
        "ratios": {label: ratio["median"] for label, ratio in result["ratios"].items()},
    }


def same_measurement(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two entries measure the same thing on the same kind of device."""

    def key(entry: Mapping[str, Any]) -> Any:
        settings = {k: v for k, v in entry["settings"].items() if k not in _OTHER_SETTINGS}
        return settings, entry["hardware"]["platform"]

    return key(a) == key(b)


def slower(
    recorded: Mapping[str, float], measured: Mapping[str, float], tolerance: float
) -> list[str]:
    """The ratios that are lower than recorded by more than the tolerance."""
    return [
        label
        for label, ratio in recorded.items()
        if label in measured and measured[label] < ratio * (1 - tolerance)
    ]


def compare(
    recorded: Mapping[str, Any], measured: Mapping[str, Any], tolerance: float
) -> tuple[str, bool]:
    """A table of recorded and measured ratios, and whether one of them got worse."""
    worse = slower(recorded["ratios"], measured["ratios"], tolerance)
    lines = [recorded["command"], f"  {'recorded':>10}{'measured':>10}"]
    for label, ratio in recorded["ratios"].items():
        now = measured["ratios"].get(label)
        verdict = "slower" if label in worse else "" if now else "not measured"
        lines.append(f"  {ratio:10.3f}{now or 0:10.3f}  {label} {verdict}".rstrip())
    return "\n".join(lines), bool(worse)


def main(arguments: Sequence[str]) -> int:
    """Compares or records; returns the exit code."""
    options = parser()
    parsed = options.parse_args(arguments)
    path = pathlib.Path(parsed.recorded)
    entries = json.loads(path.read_text()) if path.exists() else []
    result = _read(options, parsed.result) if parsed.result else None
    if parsed.record:
        if result is None:
            options.error("--record: takes a --result")
        kept = [entry for entry in entries if not same_measurement(entry, result)]
        path.write_text(json.dumps([*kept, result], indent=2) + "\n")
        return 0
    pairs = list(_pairs(entries, result))
    if not pairs:
        options.error(f"{path}: nothing recorded for this device and these settings")
    verdicts = [compare(entry, measured, parsed.tolerance) for entry, measured in pairs]
    print("\n\n".join(text for text, _ in verdicts))
    return int(any(worse for _, worse in verdicts))


def _pairs(
    entries: Iterable[Mapping[str, Any]], result: Mapping[str, Any] | None
) -> Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Recorded entries, each with what is measured now."""
    if result is not None:
        yield from ((entry, result) for entry in entries if same_measurement(entry, result))
        return
    platform = find_platform()
    for entry in entries:
        if entry["hardware"]["platform"] == platform:
            arguments = entry["command"].split()[3:]
            plan = train_step.make_plan(train_step.parser().parse_args(arguments))
            yield entry, entry_of(measure(plan) | {"command": entry["command"]})


def _read(options: argparse.ArgumentParser, file: str) -> dict[str, Any]:
    try:
        return entry_of(json.loads(pathlib.Path(file).read_text()))
    except FileNotFoundError:
        options.error(f"--result: there is no file {file}")
    except (json.JSONDecodeError, KeyError, TypeError):
        options.error(f"--result: {file} is not what train_step --json writes")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
