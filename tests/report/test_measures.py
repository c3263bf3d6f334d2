"""Differences to a baseline: what is paired, and the interval."""

import math

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
    assert difference[2:] == pytest.approx(interval([0.01, 0.03]))
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


def test_other_hardware_is_one(write):
    hardware = {"device": "other", "devices": 1, "cpu": "other"}
    _write(write, "cross_entropy", {0: 0.5, 1: 0.6}, hardware=hardware)
    assert _difference(_write(write, "skdsam", {0: 0.6, 1: 0.7})).mean == pytest.approx(0.1)


def test_any_method_can_be_the_baseline(write):
    _write(write, "cross_entropy", {0: 0.5, 1: 0.6})
    folder = _write(write, "skdsam", {0: 0.6, 1: 0.7})
    assert _difference(folder, "skdsam").mean == pytest.approx(-0.1)
