"""What `evaluate` writes and prints."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from skdsam_jax.options import ConfigError

FILE = "evaluation.json"


def write_json(folder: pathlib.Path, value: Mapping[str, Any]) -> None:
    """Writes `evaluation.json`, lists of numbers on a line of their own.

    Raises:
      ConfigError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(to_json(value) + "\n")
    except OSError as error:
        raise ConfigError(f"--out: {folder} cannot be written: {error.strerror}") from None


def to_json(value: Any, indent: str = "") -> str:
    """JSON of plain values, with a line for each list that holds neither list nor dict."""
    deeper = indent + "  "
    if isinstance(value, Mapping) and value:
        items = [
            f"{deeper}{json.dumps(name)}: {to_json(item, deeper)}" for name, item in value.items()
        ]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, (list, tuple)) and any(
        isinstance(item, (Mapping, list, tuple)) for item in value
    ):
        return "[\n" + ",\n".join(deeper + to_json(item, deeper) for item in value) + f"\n{indent}]"
    return json.dumps(value)


def describe(result: Mapping[str, Any]) -> str:
    """What is measured, as a table for the terminal."""
    exits, speed = result["exits"], result["speed"]
    rows = [
        [
            str(exit_["exit"]),
            f"{exit_['parameters']:,}",
            f"{exit_['flops'] / 1e6:,.2f}",
            f"{rate:,.0f}",
            *_measures(exit_),
            "" if exit_["temperature"] is None else f"{exit_['temperature']:.3f}",
        ]
        for exit_, rate in zip(exits, speed["images_per_second"], strict=True)
    ]
    rows.append(["ensemble", "", "", "", *_measures(result["ensemble"]), ""])
    rows += [[name, "", "", "", *_measures(other), ""] for name, other in result["others"].items()]
    header = ["exit", "parameters", "MFLOPs", "images/s"]
    header += ["top-1 %", "top-5 %", "NLL", "Brier", "ECE %", "T"]
    title = (
        f"{result['method']} on {result['model']}, step {result['step']}: "
        f"{result['examples']:,} images of {result['dataset']}, split {result['split']}"
    )
    parts = [title, "", *_table([header, *rows]), "", *_describe_any_exit(result)]
    if "corruptions" in result:
        corruptions = result["corruptions"]
        parts += ["", "accuracy in % under corruption, mean over five severities"]
        named = [*corruptions["mean_accuracies"].items(), ("mean", corruptions["mean_accuracy"])]
        header = ["", *(f"exit {exit_['exit']}" for exit_ in exits)]
        parts += _table([header, *([name, *_percents(values)] for name, values in named)])
    return "\n".join(parts)


def _describe_any_exit(result: Mapping[str, Any]) -> list[str]:
    any_exit = result["any_exit"]
    if len(result["exits"]) == 1:
        return ["one exit, so no image can leave early"]
    if any_exit["why_not"] is not None:
        return [any_exit["why_not"]]
    deepest = result["exits"][-1]["flops"]
    rows = [["leaving early", "threshold", "top-1 %", "FLOPs %", "times as fast", "leave at %"]]
    for point in any_exit["operating_points"]:
        measured = point["measured"]
        threshold = measured["threshold"]
        rows.append(
            [
                point["goal"],
                "none" if threshold is None else f"{threshold:.4f}",
                *_percents([measured["accuracy"], measured["mean_flops"] / deepest]),
                f"{point['speed_relative_to_deepest_exit']:.2f}",
                " ".join(f"{100 * share:.1f}" for share in measured["leave"]),
            ]
        )
    return [*_table(rows), "thresholds and temperatures were fitted on the validation split"]


def _measures(values: Mapping[str, float]) -> list[str]:
    return [
        *_percents([values["accuracy"], values["top5_accuracy"]]),
        f"{values['nll']:.4f}",
        f"{values['brier_score']:.4f}",
        *_percents([values["calibration_error"]]),
    ]


def _percents(values: Sequence[float]) -> list[str]:
    return [f"{100 * value:.2f}" for value in values]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines
