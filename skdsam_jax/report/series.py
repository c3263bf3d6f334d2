"""What the pictures show, as numbers: functions of the files' values, without any drawing."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from skdsam_jax.report.runs import Experiment

Line = Mapping[str, Any]


class Series(NamedTuple):
    """A measure over epochs.

    Attributes:
      epochs: counted from 1, ascending; where at least one seed was measured.
      mean: over seeds.
      deviation: sample standard deviation over seeds, NaN where there is one.
    """

    epochs: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


class LearningCurves(NamedTuple):
    """How an experiment learned.

    Attributes:
      test: accuracy of each exit in %, shallow to deep; only epochs that were evaluated.
      train: accuracy of the deepest exit in %, in training; None if it was not recorded.
      loss: the training loss.
    """

    test: list[Series]
    train: Series | None
    loss: Series


class AttentionCurves(NamedTuple):
    """Means over the examples of an epoch of training.

    Attributes:
      weights: of each shallow exit.
      entropy: in nats.
      uniform: the entropy of uniform weights, ln of their number.
    """

    weights: list[Series]
    entropy: Series
    uniform: float


class Confusion(NamedTuple):
    """That one class is taken for another: how often, and as a share of the true class."""

    true_class: str
    predicted_class: str
    count: int
    share: float


def learning_curves(experiment: Experiment) -> LearningCurves | None:
    """The curves of an experiment; None if no run has its metrics.jsonl."""
    test = _over_seeds(experiment, lambda line: _in_percent(line.get("test"), "exit_accuracies"))
    loss = _over_seeds(experiment, lambda line: [line["train"]["loss"]])
    if not test or not loss:
        return None
    train = _over_seeds(experiment, lambda line: _in_percent(line["train"], "accuracy"))
    return LearningCurves(test, train[-1] if train else None, loss[0])


def attention_curves(experiment: Experiment) -> AttentionCurves | None:
    """Weights and entropy; None if the method does not attend, or no run has its metrics.jsonl."""
    if experiment.summaries[0]["attention_weights"] is None:
        return None
    weights = _over_seeds(experiment, lambda line: line["train"].get("attention_weights"))
    entropy = _over_seeds(experiment, lambda line: _alone(line["train"].get("attention_entropy")))
    if not weights or not entropy:
        return None
    return AttentionCurves(weights, entropy[0], math.log(len(weights)))


def any_exit_curve(result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Million FLOPs and accuracy in % of every threshold of `any_exit.curve`."""
    return _costs_and_accuracies(result["any_exit"]["curve"], "mean_flops")


def exit_points(result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Million FLOPs and accuracy in % of every exit alone."""
    return _costs_and_accuracies(result["exits"], "flops")


def operating_points(result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Million FLOPs and accuracy in % of the thresholds chosen on the validation split."""
    chosen = [point["measured"] for point in result["any_exit"]["operating_points"]]
    return _costs_and_accuracies(chosen, "mean_flops")


def reliability_points(exit_: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Mean confidence and accuracy in % of the bins of an exit that hold an example."""
    bins = {name: np.array(values, float) for name, values in exit_["reliability"].items()}
    filled = bins["count"] > 0
    confidence, correct = (
        100 * bins[name][filled] / bins["count"][filled] for name in ("confidence", "correct")
    )
    return confidence, correct


def confusion_shares(result: Mapping[str, Any]) -> np.ndarray:
    """[classes, classes]: in % of the true class (row); 0 for a class without examples."""
    counts = np.array(result["confusion_matrix"], float)
    return 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def frequent_confusions(result: Mapping[str, Any], most: int) -> list[Confusion]:
    """The pairs of classes that are confused most often, of equals the first; at most `most`."""
    counts = np.array(result["confusion_matrix"])
    names = list(result["class_accuracies"])
    totals = counts.sum(axis=1)
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [
        Confusion(names[i], names[j], int(wrong[i, j]), float(wrong[i, j] / totals[i]))
        for i, j in pairs
        if wrong[i, j]
    ]


def _over_seeds(
    experiment: Experiment, read: Callable[[Line], Sequence[float] | None]
) -> list[Series]:
    """A series for each number that `read` finds in a line; it finds None where there are none.

    Runs with one seed count as one, their mean.
    """
    found: dict[int, dict[int, list[Sequence[float]]]] = {}
    for run in experiment.runs:
        for line in run.history:
            values = read(line)
            if values is not None:
                seeds = found.setdefault(line["epoch"] + 1, {})
                seeds.setdefault(run.summary["seed"], []).append(values)
    epochs = sorted(found)
    means, deviations = [], []
    for epoch in epochs:
        seeds = np.array([np.mean(same, axis=0) for same in found[epoch].values()])
        means.append(seeds.mean(axis=0))
        alone = np.full(seeds.shape[1:], np.nan)
        deviations.append(seeds.std(axis=0, ddof=1) if len(seeds) > 1 else alone)
    curves = zip(np.transpose(means), np.transpose(deviations), strict=True)
    return [Series(np.array(epochs), mean, deviation) for mean, deviation in curves]


def _in_percent(values: Line | None, name: str) -> list[float] | None:
    return None if not values or name not in values else [100 * value for value in values[name]]


def _alone(value: float | None) -> list[float] | None:
    return None if value is None else [value]


def _costs_and_accuracies(points: Sequence[Line], cost: str) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([point[cost] / 1e6 for point in points]),
        np.array([100 * point["accuracy"] for point in points]),
    )
