"""What the pictures show, as numbers."""

import json
import math
import statistics

import numpy as np
import pytest

from skdsam_jax.report import series
from skdsam_jax.report.runs import find_runs, group


def line(epoch, accuracies, loss, **train):
    """A line of metrics.jsonl; without accuracies the epoch was not evaluated."""
    made = {"epoch": epoch, "train": {"loss": loss, "accuracy": [0.1, 0.2], **train}}
    return made | ({} if accuracies is None else {"test": {"exit_accuracies": accuracies}})


def _experiment(folder):
    (experiment,) = group(find_runs(folder))
    return experiment


def test_learning_curves_are_means_over_seeds(write):
    write("a", 0, [line(0, None, 4.0), line(1, [0.1, 0.2], 2.0)])
    write("b", 1, [line(0, None, 5.0), line(1, [0.3, 0.5], 3.0)])
    folder = write("c", 2, [line(0, None, 9.0), line(1, [0.5, 0.5], 1.0)])
    test, train, loss = series.learning_curves(_experiment(folder))
    assert [each.epochs.tolist() for each in test] == [[2], [2]]
    assert [each.mean.item() for each in test] == pytest.approx([30, 40])
    deviations = [statistics.stdev([10, 30, 50]), statistics.stdev([20, 50, 50])]
    assert [each.deviation.item() for each in test] == pytest.approx(deviations)
    np.testing.assert_allclose(train.mean, [20, 20])
    np.testing.assert_array_equal(loss.epochs, [1, 2])
    np.testing.assert_allclose(loss.mean, [6, 2])
    np.testing.assert_allclose(loss.deviation, [statistics.stdev([4, 5, 9]), 1])


def test_one_seed_has_no_band_and_runs_with_one_seed_count_as_one(write):
    write("a", 0, [line(0, [0.1], 4.0)])
    folder = write("b", 0, [line(0, [0.3], 6.0)])
    curves = series.learning_curves(_experiment(folder))
    np.testing.assert_allclose(curves.test[0].mean, [20])
    assert np.isnan(curves.test[0].deviation).all()
    assert np.isnan(curves.loss.deviation).all()


def test_an_epoch_that_one_seed_lacks_is_the_mean_of_the_others(write):
    write("a", 0, [line(0, [0.2], 4.0), line(1, [0.6], 3.0)])
    folder = write("b", 1, [line(0, [0.4], 4.0)])
    (curve,) = series.learning_curves(_experiment(folder)).test
    np.testing.assert_allclose(curve.mean, [30, 60])
    np.testing.assert_array_equal(np.isnan(curve.deviation), [False, True])


def test_without_metrics_there_are_no_curves(write):
    experiment = _experiment(write("a", 0))
    assert series.learning_curves(experiment) is None
    assert series.attention_curves(experiment) is None


def test_attention_has_weights_entropy_and_what_uniform_ones_had(write):
    weights, entropy = [0.5, 0.25, 0.25], 1.0397
    history = [line(0, [0.1], 1.0, attention_weights=weights, attention_entropy=entropy)]
    curves = series.attention_curves(_experiment(write("a", 0, history)))
    assert [each.mean.item() for each in curves.weights] == weights
    assert curves.entropy.mean.item() == entropy
    assert curves.uniform == math.log(3)


def test_methods_without_attention_have_no_curve_of_it_whatever_was_written(write):
    history = [line(0, [0.1], 1.0, attention_weights=[0.5, 0.5], attention_entropy=0.7)]
    assert series.attention_curves(_experiment(write("a", 0, history, method="byot"))) is None


def test_accuracy_against_flops(evaluation):
    np.testing.assert_allclose(series.any_exit_curve(evaluation), [[1, 2.5], [50, 70]])
    np.testing.assert_allclose(series.exit_points(evaluation), [[1, 2], [50, 70]])
    np.testing.assert_allclose(series.operating_points(evaluation), [[1], [50]])


def test_reliability_leaves_empty_bins_out(evaluation):
    confidence, correct = series.reliability_points(evaluation["exits"][0])
    np.testing.assert_allclose(confidence, [50, 90])
    np.testing.assert_allclose(correct, [25, 100])


def test_confusion_is_a_share_of_the_true_class(evaluation):
    expected = [[60, 40, 0], [20, 80, 0], [0, 0, 0]]
    np.testing.assert_allclose(series.confusion_shares(evaluation), expected)


def test_the_most_frequent_confusions_come_first(evaluation):
    pairs = series.frequent_confusions(evaluation, 12)
    assert pairs == [("a", "b", 2, 0.4), ("b", "a", 1, 0.2)]
    assert series.frequent_confusions(evaluation, 1) == pairs[:1]
    assert json.dumps(pairs)  # Plain numbers, not NumPy's.
