"""Differences to a baseline: what is paired, and the interval."""

import math
import shutil

import numpy as np
import pytest
from scipy import stats

from skdsam_jax.report.measures import find_difference, interval
from skdsam_jax.report.runs import find_runs, group


def test_the_interval_is_students():
    values = [0.01, 0.03, -0.02, 0.04]
    mean, half_width = interval(values)
    oracle = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([mean - half_width, mean + half_width], oracle, rtol=1e-10)


def test_of_two_values_it_is_wide():
    """With one degree of freedom the quantile is tan(0.475 pi)."""
    assert interval([1.0, 3.0]) == pytest.approx((2, math.tan(0.475 * math.pi)))


def test_one_value_has_none():
    with pytest.raises(ValueError, match="values: takes at least 2, not 1"):
        interval([1.0])


def _difference(folder, baseline="cross_entropy"):
    experiments = group(find_runs(folder))
    found = {
        experiment.words.method: find_difference(experiment, experiments, baseline)
        for experiment in experiments
    }
    assert found.pop(baseline, None) is None
    (difference,) = found.values()
    return difference


def _write(write, method, accuracies, **changes):
    for seed, accuracy in accuracies.items():
        made = write(f"{method}-{seed}", seed, method=method, test_accuracy=accuracy, **changes)
    return made


def test_seeds_that_both_have_are_paired(write):
    _write(write, "cross_entropy", {0: 0.50, 1: 0.60, 7: 0.9})
    folder = _write(write, "skdsam", {1: 0.63, 0: 0.51, 2: 0.1})
    difference = _difference(folder)
    assert difference.seeds == (0, 1)
    assert (difference.mean, difference.half_width) == pytest.approx(interval([0.01, 0.03]))
    assert difference.baseline.words.method == "cross_entropy"


def test_runs_with_one_seed_are_their_mean(write):
    _write(write, "cross_entropy", {0: 0.5, 1: 0.5})
    _write(write, "skdsam", {0: 0.5, 1: 0.6})
    folder = write("again", 0, test_accuracy=0.7)
    assert _difference(folder).mean == pytest.approx(0.1)


def test_one_seed_in_common_says_nothing(write):
    _write(write, "cross_entropy", {0: 0.5, 1: 0.6})
    assert _difference(_write(write, "skdsam", {1: 0.5, 2: 0.6})) is None


def test_another_network_is_no_baseline(write):
    _write(write, "cross_entropy", {0: 0.5, 1: 0.6}, model="resnet34")
    assert _difference(_write(write, "skdsam", {0: 0.5, 1: 0.6})) is None


def test_seeds_on_other_hardware_are_of_the_same_experiment(write):
    hardware = {"device": "other", "devices": 1, "cpu": "other"}
    _write(write, "cross_entropy", {0: 0.5}, hardware=hardware)
    _write(write, "cross_entropy", {1: 0.6})
    difference = _difference(_write(write, "skdsam", {0: 0.6, 1: 0.8}))
    assert (difference.seeds, difference.mean) == ((0, 1), pytest.approx(0.15))


def _trained(config, epochs, batch, views):
    """Of a run: its config, changed, and what it read of 1,000 images."""
    training = config["training"] | {"epochs": epochs, "batch_size": batch}
    steps = epochs * (1000 // batch)
    return {
        "config": config | {"training": training},
        "steps": steps,
        "images_per_step": views * batch,
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "differing"),
    [
        ((20, 100, 1), (20, 100, 1), ()),
        ((20, 25, 4), (20, 100, 1), ("training.batch_size",)),
        ((5, 100, 4), (20, 100, 1), ("training.epochs",)),
        ((5, 25, 4), (20, 100, 1), ("training.batch_size", "training.epochs")),
        ((5, 25, 4), (20, 500, 1), None),
        ((6, 100, 3), (20, 100, 1), None),  # 18 and 20 passes: more than half an epoch apart.
        ((7, 100, 3), (20, 100, 1), ("training.epochs",)),
        ((20, 50, 1), (20, 100, 1), None),
        ((21, 100, 1), (20, 100, 1), None),
        ((20, 50, 4), (20, 100, 1), None),
        ((5, 100, 4), (10, 100, 2), ("training.epochs",)),
    ],
)
def test_a_baseline_reads_as_many_images(write, summary, ours, theirs, differing):
    """Each given as epochs, batch and the images read for each of it."""
    _write(write, "cross_entropy", {0: 0.5, 1: 0.6}, **_trained(summary["config"], *theirs))
    folder = _write(write, "skdsam", {0: 0.6, 1: 0.7}, **_trained(summary["config"], *ours))
    difference = _difference(folder)
    assert (difference and difference.differing) == differing


def test_the_nearest_baseline_is_taken(write, summary):
    """That of the same training, and otherwise the one that read the most similar number."""
    for name, epochs in (("a", 19), ("b", 20), ("c", 5)):
        run = _trained(summary["config"], epochs, 100, 1)
        for seed in range(2):
            write(f"{name}-{seed}", seed, method="cross_entropy", test_accuracy=epochs / 100, **run)

    def difference_of(run):
        experiments = group(find_runs(run))
        (ours,) = (each for each in experiments if each.words.method == "skdsam")
        return find_difference(ours, experiments, "cross_entropy")

    folder = _write(write, "skdsam", {0: 0.5, 1: 0.5}, **_trained(summary["config"], 5, 100, 4))
    assert difference_of(folder).mean == pytest.approx(0.45)
    shutil.rmtree(folder / "c-0")
    assert difference_of(folder) is None  # One seed of the same training is no reason for another.
    shutil.rmtree(folder / "c-1")
    assert difference_of(folder).mean == pytest.approx(0.3)


def test_the_nearest_of_two_differs_in_less(write, summary):
    """In epochs alone before epochs and batch, whatever the order of their words."""
    for name, batch, accuracy in (("a", 200, 0.1), ("b", 100, 0.2)):
        run = _trained(summary["config"], 20, batch, 1)
        for seed in range(2):
            write(f"{name}-{seed}", seed, method="cross_entropy", test_accuracy=accuracy, **run)
    folder = _write(write, "skdsam", {0: 0.5, 1: 0.5}, **_trained(summary["config"], 10, 100, 2))
    experiments = group(find_runs(folder))
    (ours,) = (each for each in experiments if each.words.method == "skdsam")
    difference = find_difference(ours, experiments, "cross_entropy")
    assert (difference.mean, difference.differing) == (pytest.approx(0.3), ("training.epochs",))


@pytest.mark.parametrize("ours", [True, False])
def test_a_field_that_only_one_of_them_has_is_a_difference(write, summary, ours):
    config = summary["config"]
    gone = config | {"training": config["training"] | {"gone": 1}}
    configs = (gone, config) if ours else (config, gone)
    folder = _write(write, "skdsam", {0: 0.6, 1: 0.7}, config=configs[0])
    _write(write, "cross_entropy", {0: 0.5, 1: 0.6}, config=configs[1])
    assert _difference(folder) is None


def test_other_training_is_no_baseline(write, summary):
    config = summary["config"]
    changed = config | {"training": config["training"] | {"learning_rate": 0.05}}
    _write(write, "cross_entropy", {0: 0.5, 1: 0.6}, **_trained(changed, 20, 100, 1))
    folder = _write(write, "skdsam", {0: 0.6, 1: 0.7}, **_trained(config, 5, 100, 4))
    assert _difference(folder) is None


def test_any_method_can_be_the_baseline(write):
    _write(write, "cross_entropy", {0: 0.5, 1: 0.6})
    folder = _write(write, "skdsam", {0: 0.6, 1: 0.7})
    assert _difference(folder, "skdsam").mean == pytest.approx(-0.1)
