"""Numbers of an experiment: what its seeds reached, and how that differs from a baseline's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from skdsam_jax.experiment.run_description import settings_of
from skdsam_jax.report.runs import Experiment

# Of the interval of a difference.
CONFIDENCE = 0.95

_EPOCHS, _BATCH = "training.epochs", "training.batch_size"

Summaries = Sequence[Mapping[str, Any]]


class Difference(NamedTuple):
    """What an experiment's accuracy in the last epoch has over a baseline's, paired by seed.

    Attributes:
      baseline: what it is compared with.
      differing: fields of training, beside the method, that are not the same in both.
      seeds: that both have, at least two.
      mean: of the differences over these seeds, a share.
      half_width: of the interval of `CONFIDENCE` around the mean; see `interval`.
    """

    baseline: Experiment
    differing: tuple[str, ...]
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
    included, so nothing but the method and its options differs. For a method that reads V images
    for each of a batch it may also be one whose batch is V times as large, or that reads its
    training set as often: see `_Likeness`.

    Args:
      experiment: what is compared.
      experiments: all that there are.
      baseline: the method that is compared with, in the words of a row, as `cross_entropy`.

    Returns:
      The difference; None if there is no such baseline, the experiment is one itself, or they have
      fewer than two seeds in common.
    """
    if experiment.words.method == baseline:
        return None
    found = [
        (likeness, other)
        for other in experiments
        if other.words.method == baseline and (likeness := _likeness(experiment, other)) is not None
    ]
    if not found:
        return None
    likeness, nearest = min(found, key=lambda pair: pair[0].rank)
    ours, theirs = (
        means_by_seed(each.summaries, "test_accuracy") for each in (experiment, nearest)
    )
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if len(seeds) < 2:
        return None
    mean, half_width = interval([ours[seed] - theirs[seed] for seed in seeds])
    return Difference(nearest, likeness.differing, seeds, mean, half_width)


class _Likeness(NamedTuple):
    """How near a baseline is to what is compared with it.

    With e epochs, a batch of b and V images read for each of it, and of the baseline E, B and W,
    a baseline is one that differs in nothing, or

        in b alone,  V b = W B              as many images a step
        in e alone,  |V e - W E| <= V / 2   as many in all, as far as epochs are whole
        in both,     both

    Attributes:
      differing: fields of training that are not the same.
      distance: |V e - W E|.
    """

    differing: tuple[str, ...]
    distance: int

    @property
    def rank(self) -> tuple[int, int]:
        """The nearest has the lowest."""
        return len(self.differing), self.distance


def _likeness(ours: Experiment, theirs: Experiment) -> _Likeness | None:
    """None: they differ in something else, and are not compared."""
    if (ours.words.table, ours.words.network) != (theirs.words.table, theirs.words.network):
        return None
    first, second = (_settings(each) for each in (ours, theirs))
    names = sorted({*first, *second})
    differing = tuple(name for name in names if first.get(name) != second.get(name))
    if not differing:
        return _Likeness(differing, 0)
    if not set(differing) <= {_EPOCHS, _BATCH}:
        return None
    counts = [images_read(each.summaries) for each in (ours, theirs)]
    if None in counts:
        return None
    (_, views), (_, their_views) = counts
    distance = abs(views * first[_EPOCHS] - their_views * second[_EPOCHS])
    if _BATCH in differing and views * first[_BATCH] != their_views * second[_BATCH]:
        return None
    if _EPOCHS in differing and distance > views / 2:
        return None
    return _Likeness(differing, distance)


def _settings(experiment: Experiment) -> dict[str, Any]:
    """The fields that decide how an experiment's network is trained, whatever the method is."""
    apart = ("seed", "method.", "model.")  # The words of the network tell what it started from.
    fields = settings_of(experiment.summaries[0]).items()
    return {name: value for name, value in fields if not name.startswith(apart)}


def images_read(summaries: Summaries) -> tuple[int, int] | None:
    """How many images a run of an experiment read, and how many of them for each of a batch.

    None: no version that made one counted them.
    """
    counted = next((summary for summary in summaries if "images_per_step" in summary), None)
    if counted is None:
        return None
    per_step = counted["images_per_step"]
    return per_step * counted["steps"], per_step // counted["config"]["training"]["batch_size"]


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
