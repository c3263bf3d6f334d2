"""Tables made from measured runs: `python -m skdsam_jax report results --out results/README.md`.

Runs that differ in nothing but their seed share a row: mean and sample standard deviation over
seeds of the last epoch, which is the protocol of the thesis. The best epoch on the test set stands
beside it as the oracle it is. A table holds one data set at one size in one recipe, and a row names
every other field that is not at its default, and how many images it read.
"""

import argparse
import json
import pathlib
import shlex
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from skdsam_jax.experiment.run_description import RunDescription, describe
from skdsam_jax.methods import METHODS
from skdsam_jax.options import ConfigError

_INTRODUCTION = """\
# Measured runs

Made by `{command}`.

Accuracy on the whole test set in %, mean and standard deviation over n seeds of the last epoch;
several runs with one seed count as one. The best epoch was found by looking at the test set: an
oracle, not a result. Each row names every field of its config that is not at its default, and how
many images the network read while it trained; "2 x batch" are two for each image of a batch. Tables
differ in data, image size or recipe, and their numbers do not compare.
"""

Runs = Sequence[Mapping[str, Any]]
Column = Callable[[RunDescription, Runs], str]


def load_summaries(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The summaries of all finished runs below `folder`.

    Raises:
      ConfigError: there are none, or one cannot be read.
    """
    summaries = []
    for path in sorted(folder.glob("**/summary.json")):
        try:
            summary = json.loads(path.read_text())
            if summary["finished"]:
                # Of earlier versions, in which rotations alone had a second prediction.
                aggregated = summary.pop("aggregated_accuracy", None)
                if aggregated is not None:
                    summary["other_accuracies"] = {"aggregated": aggregated}
                if _has_no_attention(summary["method"]):
                    summary["attention_weights"] = None
                summaries.append(summary)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{path}: is no summary of a run") from None
    if not summaries:
        raise ConfigError(f"{folder}: holds no summary.json of a finished run")
    return summaries


def make_report(summaries: Iterable[Mapping[str, Any]], command: str) -> str:
    """A Markdown page with one row per experiment.

    Args:
      summaries: of finished runs.
      command: what the page says it was made by.

    Returns:
      The page.
    """
    summaries = list(summaries)
    teachers = {run["params_digest"]: run for run in summaries if "params_digest" in run}
    experiments: dict[RunDescription, list[Mapping[str, Any]]] = {}
    for summary in summaries:
        experiments.setdefault(describe(summary, teachers), []).append(summary)
    tables: dict[str, list[list[str]]] = {}
    for experiment in sorted(experiments):
        row = [make(experiment, experiments[experiment]) for make in _COLUMNS.values()]
        tables.setdefault(experiment.table, []).append(row)
    pages = [f"## {title}\n\n{_table(rows)}" for title, rows in tables.items()]
    return "\n".join([_INTRODUCTION.format(command=command), *pages])


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m skdsam_jax report", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("folder", type=pathlib.Path, help="where the summaries are")
    parser.add_argument("--out", type=pathlib.Path, help="the page to write; printed if not given")
    options = parser.parse_args(arguments)
    try:
        page = make_report(
            load_summaries(options.folder), shlex.join([*parser.prog.split(), *arguments])
        )
        if options.out:
            options.out.write_text(page)
        else:
            print(page)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _has_no_attention(method: str) -> bool:
    """Of such methods earlier versions wrote weights too, always uniform."""
    return method in METHODS and not hasattr(METHODS[method].Options, "energy")


def _by_seed(runs: Runs, name: str) -> np.ndarray:
    """[seeds, ...]: a measure for each seed, what several runs with one seed reached on average."""
    values: dict[int, list[Any]] = {}
    for run in runs:
        values.setdefault(run["seed"], []).append(run[name])
    return np.stack([np.mean(same, axis=0) for same in values.values()])


def _count(runs: Runs) -> str:
    seeds = len({run["seed"] for run in runs})
    return f"{seeds}" if seeds == len(runs) else f"{seeds} ({len(runs)} runs)"


def _percent(name: str) -> Column:
    """Mean and sample deviation in %; one seed has no deviation."""

    def make(_: RunDescription, runs: Runs) -> str:
        return "" if runs[0].get(name) is None else _mean(runs, name)

    return make


def _mean(runs: Runs, name: str) -> str:
    values = 100 * _by_seed(runs, name)
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def _exits(_: RunDescription, runs: Runs) -> str:
    return " ".join(f"{100 * value:.2f}" for value in _by_seed(runs, "exit_accuracies").mean(0))


def _others(runs: Runs) -> str:
    """What predicts beside the exits, such as a self-teacher."""
    names = runs[0].get("other_accuracies", {})
    columns = (
        (name, [{"seed": run["seed"], name: run["other_accuracies"][name]} for run in runs])
        for name in names
    )
    return ", ".join(f"{name} {_mean(values, name)}" for name, values in columns)


def _attention(_: RunDescription, runs: Runs) -> str:
    if runs[0]["attention_weights"] is None:
        return ""
    weights = " ".join(f"{value:.3f}" for value in _by_seed(runs, "attention_weights").mean(0))
    return f"{weights} ({_by_seed(runs, 'attention_entropy').mean():.4f})"


def _images_read(_: RunDescription, runs: Runs) -> str:
    run = runs[0]
    if "images_per_step" not in run:  # Of a version that did not count them.
        return ""
    per_step, batch = run["images_per_step"], run["config"]["training"]["batch_size"]
    return f"{_round(per_step * run['steps'])}, {per_step // batch} x batch"


def _round(count: int) -> str:
    """Such as 12.5 M, or 86 k."""
    return f"{count / 1e6:.1f} M" if count >= 999_500 else f"{count / 1e3:.0f} k"


def _speed(_: RunDescription, runs: Runs) -> str:
    # A run of one dispatch has none: its only one compiled.
    rates = [run["images_per_second"] for run in runs if run["images_per_second"] is not None]
    return f"{statistics.median(rates):.0f}" if rates else ""


def _hardware(experiment: RunDescription, runs: Runs) -> str:
    versions = sorted({run["versions"]["jax"] for run in runs})
    return f"{experiment.hardware}, jax {' and '.join(versions)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, without the columns that are empty in all of them."""
    columns = [column for column in zip(_COLUMNS, *rows, strict=True) if any(column[1:])]
    names, *rows = zip(*columns, strict=True)
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


_COLUMNS: dict[str, Column] = {
    "method": lambda words, runs: words.method,
    "network": lambda words, runs: words.network,
    "training": lambda words, runs: words.training,
    "images read": _images_read,
    "n": lambda _, runs: _count(runs),
    "last epoch": _percent("test_accuracy"),
    "other predictions": lambda _, runs: _others(runs),
    "ensemble": _percent("ensemble_accuracy"),
    "exits, shallow to deep": _exits,
    "attention (entropy)": _attention,
    "best epoch (oracle)": _percent("best_test_accuracy"),
    "images/s": _speed,
    "hardware": _hardware,
}
