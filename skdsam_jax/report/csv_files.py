"""The tables as CSV files, of plain numbers: accuracies are shares from 0 to 1."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skdsam_jax.report.measures import by_seed, find_difference, images_read
from skdsam_jax.report.runs import Evaluation, Experiment, Unfinished, machine_of

Row = Mapping[str, Any]


def make_files(
    experiments: Sequence[Experiment],
    unfinished: Sequence[Unfinished],
    evaluations: Sequence[Evaluation],
    baseline: str,
) -> dict[str, str]:
    """The name and text of each file; one without rows is left out.

    `results.csv` has a row for each experiment, `runs.csv` for each run, finished or not,
    `differences.csv` for each experiment with a baseline and two seeds in common, and `exits.csv`
    for each exit that `evaluate` measured.

    Args:
      experiments: in the order of the page.
      unfinished: runs.
      evaluations: apart from their runs.
      baseline: see `measures.find_difference`.
    """
    runs = [run for experiment in experiments for run in experiment.runs]
    own = [run.evaluation for run in runs if run.evaluation is not None]
    tables = {
        "results.csv": [_result(experiment) for experiment in experiments],
        "runs.csv": [*_runs(experiments), *map(_unfinished, unfinished)],
        "differences.csv": [*_differences(experiments, baseline)],
        "exits.csv": [*_exits([*own, *evaluations])],
    }
    return {name: _to_csv(rows) for name, rows in tables.items() if rows}


def _to_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _words(experiment: Experiment) -> dict[str, str]:
    words = experiment.words
    return {
        "data": words.table,
        "method": words.method,
        "network": words.network,
        "training": words.training,
    }


def _result(experiment: Experiment) -> Row:
    summaries = experiment.summaries
    counts = images_read(summaries)
    row = _words(experiment) | {
        "hardware": "; ".join(experiment.machines),
        "parameters": experiment.words.parameters,
        "images_read": None if counts is None else counts[0],
        "seeds": len(experiment.seeds),
        "runs": len(summaries),
    }
    for name in ("test_accuracy", "ensemble_accuracy", "best_test_accuracy"):
        if summaries[0].get(name) is not None:
            values = by_seed(summaries, name)
            row[f"{name}_mean"] = values.mean()
            row[f"{name}_deviation"] = values.std(ddof=1) if len(values) > 1 else None
    for number, value in enumerate(by_seed(summaries, "exit_accuracies").mean(0), 1):
        row[f"exit_{number}_accuracy_mean"] = value
    return row


def _runs(experiments: Sequence[Experiment]) -> Iterator[Row]:
    for experiment in experiments:
        for run in experiment.runs:
            epochs = run.summary["config"]["training"]["epochs"]
            yield {
                "folder": run.folder.as_posix(),
                **_words(experiment),
                "hardware": machine_of(run.summary),
                "seed": run.summary["seed"],
                "epochs": epochs,
                "finished_epochs": epochs,
                "test_accuracy": run.summary["test_accuracy"],
                "best_test_accuracy": run.summary["best_test_accuracy"],
            }


def _unfinished(run: Unfinished) -> Row:
    return {
        "folder": run.folder.as_posix(),
        "data": run.dataset,
        "method": run.method,
        "network": run.model,
        "seed": run.seed,
        "epochs": run.epochs,
        "finished_epochs": run.finished_epochs,
        "failure": run.failure,
    }


def _differences(experiments: Sequence[Experiment], baseline: str) -> Iterator[Row]:
    for experiment in experiments:
        difference = find_difference(experiment, experiments, baseline)
        if difference is not None:
            yield {
                **_words(experiment),
                "baseline": difference.baseline.words.method,
                "baseline_training": difference.baseline.words.training,
                "seeds": len(difference.seeds),
                "mean_difference": difference.mean,
                "low": difference.mean - difference.half_width,
                "high": difference.mean + difference.half_width,
            }


def _exits(evaluations: Sequence[Evaluation]) -> Iterator[Row]:
    names = ("accuracy", "top5_accuracy", "nll", "brier_score", "calibration_error", "temperature")
    for evaluation in evaluations:
        result = evaluation.result
        for exit_ in result["exits"]:
            yield {
                "file": evaluation.file.as_posix(),
                "method": result["method"],
                "network": result["model"],
                "step": result["step"],
                "data": result["dataset"],
                "split": result["split"],
                "exit": exit_["exit"],
                **{name: exit_[name] for name in (*names, "parameters", "flops")},
            }
