"""Numbers of an experiment: what its seeds reached, and how that differs from a baseline's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from skdsam_jax.report.runs import Experiment

# Of the interval of a difference.
CONFIDENCE = 0.95

Summaries = Sequence[Mapping[str, Any]]


class Difference(NamedTuple):
    """What an experiment's accuracy in the last epoch has over a baseline's, paired by seed.

    Attributes:
      baseline: what it is compared with.
      seeds: that both have, at least two.
      mean: of the differences over these seeds, a share.
      half_width: of the interval of `CONFIDENCE` around the mean; see `interval`.
    """

    baseline: Experiment
    seeds: tuple[int, ...]
    mean: float
    half_width: float


def by_seed(summaries: Summaries, name: str) -> np.ndarray:
    """[seeds, ...]: a measure for each seed, what several runs with one seed reached on average.

    Args:
      summaries: of an experiment.
      name: the measure, a number or a list.
    """
    return np.stack(list(means_by_seed(summaries, name).values()))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean m of n values d_i and the half width of its interval, by Student's t.

        m = 1/n sum_i d_i,  s^2 = 1/(n - 1) sum_i (d_i - m)^2,  half width = t s / sqrt(n)

    with t the quantile (1 + `CONFIDENCE`) / 2 of Student's distribution with n - 1 degrees of
    freedom. It supposes that the values are independent and nearly normal.

    Args:
      values: at least two.

    Raises:
      ValueError: of one value there is no deviation.
    """
    count = len(values)
    if count < 2:
        raise ValueError(f"values: takes at least 2, not {count}")
    quantile = special.stdtrit(count - 1, (1 + CONFIDENCE) / 2)
    return float(np.mean(values)), float(quantile * np.std(values, ddof=1) / math.sqrt(count))


def find_difference(
    experiment: Experiment, experiments: Sequence[Experiment], baseline: str
) -> Difference | None:
    """How much better an experiment is than the baseline beside it.

    The baseline is what has the same data, recipe, network and training, epochs and batch size
    included, on any hardware; so nothing but the method and its options differs.

    Args:
      experiment: what is compared.
      experiments: all that there are.
      baseline: the method that is compared with, in the words of a row, as `cross_entropy`.

    Returns:
      The difference; None if there is no such baseline, the experiment is one itself, or they have
      fewer than two seeds in common.
    """

    def conditions(other: Experiment) -> tuple[str, str, str]:
        return other.words.table, other.words.network, other.words.training

    if experiment.words.method == baseline:
        return None
    found = [
        other
        for other in experiments
        if other.words.method == baseline and conditions(other) == conditions(experiment)
    ]
    if not found:
        return None
    theirs = means_by_seed([run for other in found for run in other.summaries], "test_accuracy")
    ours = means_by_seed(experiment.summaries, "test_accuracy")
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if len(seeds) < 2:
        return None
    return Difference(found[0], seeds, *interval([ours[seed] - theirs[seed] for seed in seeds]))


def images_read(summary: Mapping) -> tuple[int, int] | None:
    """How many images a run read, and how many of them for each of a batch.

    None: its version did not count them.
    """
    if "images_per_step" not in summary:
        return None
    per_step = summary["images_per_step"]
    return per_step * summary["steps"], per_step // summary["config"]["training"]["batch_size"]


def means_by_seed(summaries: Summaries, name: str) -> dict[int, Any]:
    """What the runs with each seed reached on average.

    Args:
      summaries: of an experiment.
      name: the measure, a number or a list.
    """
    values: dict[int, list[Any]] = {}
    for summary in summaries:
        values.setdefault(summary["seed"], []).append(summary[name])
    return {seed: np.mean(same, axis=0) for seed, same in values.items()}
