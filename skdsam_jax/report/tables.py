"""The tables of a page, as rows of text, and as a page of Markdown.

Runs that differ in nothing but their seed share a row: mean and sample standard deviation over
seeds of the last epoch, which is the protocol of the thesis. The best epoch on the test set stands
beside it as the oracle it is. A table holds one data set at one size in one recipe, and a row names
every other field that is not at its default, and how many images it read.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from skdsam_jax.report.measures import (
    CONFIDENCE,
    Difference,
    Summaries,
    by_seed,
    find_difference,
    images_read,
)
from skdsam_jax.report.runs import Evaluation, Experiment, Unfinished

INTRODUCTION = (
    "Accuracy on the whole test set in %, mean and standard deviation over n seeds of the last "
    "epoch; several runs with one seed count as one. The best epoch was found by looking at the "
    "test set: an oracle, not a result. Each row names every field of its config that is not at "
    'its default, and how many images the network read while it trained; "2 x batch" are two for '
    "each image of a batch. Images per second are a run's median over epochs, and the time of "
    "training is that of its steps at this rate; of several runs the slowest and the fastest are "
    "named, of several machines each in the order of the hardware. Tables differ in data, image "
    "size or recipe, and their numbers do not compare."
)

# Titles of tables that are not of a data set.
EVALUATIONS = "Networks measured apart from their runs"
COMMANDS = "Commands that repeat a row"

_COMMAND = "command of the first"
_COMMANDS = (_COMMAND, "command")


class Table(NamedTuple):
    """Rows of cells under a heading.

    Attributes:
      title: what all rows have in common.
      columns: their names.
      rows: a text for each column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def make_tables(experiments: Sequence[Experiment], baseline: str) -> list[Table]:
    """A table for each data set, size and recipe, a row for each experiment.

    Args:
      experiments: in the order of the page.
      baseline: the method that others are compared with, see `measures.find_difference`.

    Returns:
      The tables, without columns that are empty in all rows.
    """
    tables: dict[str, list[Mapping[str, str]]] = {}
    for number, experiment in enumerate(experiments, 1):
        difference = find_difference(experiment, experiments, baseline)
        row = _row(experiment, difference, f"minus {baseline}")
        tables.setdefault(experiment.words.table, []).append({"#": f"{number}"} | row)
    return [_without_empty_columns(title, rows) for title, rows in tables.items()]


def commands_table(experiments: Sequence[Experiment]) -> Table:
    """By the numbers of their rows, the commands that made the runs of the lowest seeds.

    Runs of versions that did not note theirs have none.
    """
    rows = []
    for number, experiment in enumerate(experiments, 1):
        first = min(experiment.summaries, key=lambda summary: summary["seed"])
        if "command" in first:
            seeds = " ".join(map(str, experiment.seeds))
            rows.append((f"{number}", seeds, first["command"], first.get("commit") or ""))
    return Table(COMMANDS, ("#", "seeds", _COMMAND, "commit"), tuple(rows))


def unfinished_table(runs: Sequence[Unfinished], folder: pathlib.Path) -> Table:
    """Which runs have not ended, and which failed; their folders as seen from `folder`."""
    rows = [
        {
            "folder": run.folder.relative_to(folder).as_posix(),
            "method": run.method,
            "network": run.model,
            "data": run.dataset,
            "seed": str(run.seed),
            "epochs": f"{run.finished_epochs} of {run.epochs}",
            "failure": run.failure,
            "command": run.command,
        }
        for run in runs
    ]
    return _without_empty_columns("Unfinished runs", rows)


def evaluations_table(evaluations: Sequence[Evaluation], folder: pathlib.Path) -> Table:
    """What was measured apart from the runs that are there; files as seen from `folder`."""
    rows = []
    for file, result in evaluations:
        exits = result["exits"]
        rows.append(
            (
                file.relative_to(folder).as_posix(),
                result["method"],
                result["model"],
                f"{result['examples']:,} images of {result['dataset']}, {result['split']}",
                f"{result['step']}",
                " ".join(f"{100 * exit_['accuracy']:.2f}" for exit_ in exits),
                " ".join(f"{exit_['flops'] / 1e6:,.2f}" for exit_ in exits),
            )
        )
    columns = ("file", "method", "network", "data", "step", "exits, shallow to deep", "MFLOPs")
    return Table(EVALUATIONS, columns, tuple(rows))


def explain_differences(tables: Sequence[Table], baseline: str) -> str:
    """Says what the column of differences is, and nothing where no table has it."""
    if not any(f"minus {baseline}" in table.columns for table in tables):
        return ""
    return (
        f'"minus {baseline}" is the difference to that method in points of accuracy, paired by '
        f"seed, with the {CONFIDENCE:.0%} interval of its mean by Student's t; its n counts the "
        "seeds that both have. Where there is no baseline of the same training, a method that "
        "reads several images for each of a batch is compared with one that reads as many in a "
        'step, or in all, whose batch size or epochs then stand behind "its".'
    )


def to_markdown(table: Table) -> str:
    """The table with its title."""
    rows = [map(_markdown_cell, table.columns, row) for row in table.rows]
    lines = [table.columns, ["---"] * len(table.columns), *rows]
    return f"## {table.title}\n\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _markdown_cell(column: str, text: str) -> str:
    text = text.replace("|", r"\|")
    return f"`{text}`" if text and column in _COMMANDS else text


def _row(experiment: Experiment, difference: Difference | None, minus: str) -> dict[str, str]:
    words, runs = experiment
    summaries = experiment.summaries
    seeds = f"{len(experiment.seeds)}"
    return {
        "method": words.method,
        "network": words.network,
        "training": words.training,
        "images read": _images_read(summaries),
        "n": seeds if len(runs) == int(seeds) else f"{seeds} ({len(runs)} runs)",
        "validation": _validation(summaries),
        "last epoch": _percent(summaries, "test_accuracy"),
        minus: _difference(difference),
        "other predictions": _others(summaries),
        "ensemble": _percent(summaries, "ensemble_accuracy"),
        "exits, shallow to deep": _exits(summaries),
        "attention (entropy)": _attention(summaries),
        "best epoch (oracle)": _percent(summaries, "best_test_accuracy"),
        **_machines(experiment),
    }


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    mean, half_width = 100 * difference.mean, 100 * difference.half_width
    training = difference.baseline.summaries[0]["config"]["training"]
    names = (field.partition(".")[2] for field in difference.differing)
    notes = [f"n = {len(difference.seeds)}", *(f"its {name} {training[name]}" for name in names)]
    return f"{mean:+.2f} ± {half_width:.2f} ({', '.join(notes)})"


def _percent(summaries: Summaries, name: str) -> str:
    """Mean and sample deviation in %; one seed has no deviation."""
    return "" if summaries[0].get(name) is None else _mean(summaries, name)


def _mean(summaries: Summaries, name: str) -> str:
    values = 100 * by_seed(summaries, name)
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def _validation(summaries: Summaries) -> str:
    """Of the last epoch, where a part of the training split was held out."""
    measured = [
        {"seed": run["seed"], "accuracy": run["validation"]["accuracy"]}
        for run in summaries
        if run.get("validation") is not None
    ]
    return _mean(measured, "accuracy") if measured else ""


def _exits(summaries: Summaries) -> str:
    return " ".join(f"{100 * value:.2f}" for value in by_seed(summaries, "exit_accuracies").mean(0))


def _others(summaries: Summaries) -> str:
    """What predicts beside the exits, such as a self-teacher."""
    names = summaries[0].get("other_accuracies", {})
    columns = (
        (name, [{"seed": run["seed"], name: run["other_accuracies"][name]} for run in summaries])
        for name in names
    )
    return ", ".join(f"{name} {_mean(values, name)}" for name, values in columns)


def _attention(summaries: Summaries) -> str:
    if summaries[0]["attention_weights"] is None:
        return ""
    values = by_seed(summaries, "attention_weights")
    if len(values) > 1:
        # Seeds may choose different exits, which a mean alone would hide.
        columns = zip(values.mean(0), values.std(0, ddof=1), strict=True)
        weights = ", ".join(f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in columns)
    else:
        weights = " ".join(f"{value:.3f}" for value in values[0])
    return f"{weights} ({by_seed(summaries, 'attention_entropy').mean():.4f})"


def _images_read(summaries: Summaries) -> str:
    counts = images_read(summaries)
    return "" if counts is None else f"{_round(counts[0])}, {counts[1]} x batch"


def _round(count: int) -> str:
    """Such as 12.5 M, or 86 k."""
    return f"{count / 1e6:.1f} M" if count >= 999_500 else f"{count / 1e3:.0f} k"


def _machines(experiment: Experiment) -> dict[str, str]:
    """What the runs were computed on and how fast, a part for each machine in the same order."""
    machines = experiment.machines
    rates, durations, hardware = [], [], []
    for name, summaries in machines.items():
        # A run of one dispatch has no rate: its only one compiled.
        timed = [run for run in summaries if run["images_per_second"] is not None]
        rates.append(_span(timed, lambda run: run["images_per_second"], "{:.0f}".format))
        timed = [run for run in timed if "steps" in run]  # Early versions did not count them.
        durations.append(_span(timed, _seconds_of_training, _duration))
        versions = sorted({run["versions"]["jax"] for run in summaries})
        hardware.append(f"{name}, jax {' and '.join(versions)}")
    return {
        "images/s": _parts(rates),
        "training time": _parts(durations),
        "hardware": _parts(hardware),
    }


def _parts(texts: Sequence[str | None]) -> str:
    """One for each machine; nothing if none has any."""
    return "; ".join(text or "-" for text in texts) if any(texts) else ""


def _span(
    runs: Summaries, measure: Callable[[Mapping], float], words: Callable[[float], str]
) -> str | None:
    """The smallest and the largest of a measure, once if they read the same; None without runs."""
    if not runs:
        return None
    values = [measure(run) for run in runs]
    return " to ".join(dict.fromkeys([words(min(values)), words(max(values))]))


def _seconds_of_training(run: Mapping) -> float:
    """Of its steps alone, at its rate."""
    return run["steps"] * run["config"]["training"]["batch_size"] / run["images_per_second"]


def _duration(seconds: float) -> str:
    """Such as 95 s, 14 min or 2.3 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _without_empty_columns(title: str, rows: Sequence[Mapping[str, str]]) -> Table:
    columns = tuple(name for name in rows[0] if any(row[name] for row in rows))
    return Table(title, columns, tuple(tuple(row[name] for name in columns) for row in rows))
