"""Measures against scikit-learn, plain loops, and those of training."""

import numpy as np
import pytest
from scipy import optimize, special
from sklearn import metrics as oracle

from skdsam_jax.evaluation.calibration import fit_temperature, scaled
from skdsam_jax.evaluation.metrics import exit_sums, summarize_exits
from skdsam_jax.evaluation.scores import class_accuracies, confusion_matrix, reliability, score
from skdsam_jax.methods import ExitOutputs

EXAMPLES, CLASSES = 300, 7


@pytest.fixture(scope="module")
def logits():
    generator = np.random.default_rng(0)
    return 2 * generator.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)


@pytest.fixture(scope="module")
def labels(logits):
    """Those that the logits say, and some others."""
    generator = np.random.default_rng(1)
    random = generator.integers(0, CLASSES, EXAMPLES)
    return np.where(generator.uniform(size=EXAMPLES) < 0.6, logits.argmax(1), random)


@pytest.fixture(scope="module")
def predicted(logits):
    return special.log_softmax(logits.astype(np.float64), axis=1)


def test_scores_are_those_of_scikit_learn(predicted, labels):
    found = score(predicted, labels)
    probabilities = np.exp(predicted)
    assert found["accuracy"] == oracle.accuracy_score(labels, predicted.argmax(1))
    assert found["top5_accuracy"] == oracle.top_k_accuracy_score(labels, probabilities, k=5)
    assert found["nll"] == pytest.approx(oracle.log_loss(labels, probabilities), rel=1e-12)
    one_hot = np.eye(CLASSES)[labels]
    brier = np.mean([np.sum((p - y) ** 2) for p, y in zip(probabilities, one_hot, strict=True)])
    assert found["brier_score"] == pytest.approx(brier, rel=1e-12)


def test_scores_are_those_of_training(logits, labels):
    """Which are sums on the device."""
    outputs = ExitOutputs((logits,), (logits,))
    sums = exit_sums(outputs, labels.astype(np.int32), np.ones(EXAMPLES, np.float32))
    trained = summarize_exits(sums)
    found = score(special.log_softmax(logits, axis=1), labels)
    for name in ("accuracy", "top5_accuracy"):
        assert found[name] == trained[name]
    for name in ("nll", "calibration_error"):
        assert found[name] == pytest.approx(trained[name], rel=1e-5)


def test_of_equals_the_first_is_predicted():
    """Also where the label is one of the others, or stands sixth of equals."""
    uniform = np.full((4, 8), np.log(1 / 8))
    found = score(uniform, np.array([0, 1, 4, 5]))
    assert (found["accuracy"], found["top5_accuracy"]) == (0.25, 0.75)


def test_calibration_by_hand():
    """Two of three right at confidence 0.9, the one at 0.6 right: gaps of 0.7 and of 0.4."""
    confidence = np.array([0.9, 0.9, 0.9, 0.6])
    predicted = np.log(np.stack([confidence, 1 - confidence], 1))
    labels = np.array([0, 0, 1, 0])
    assert score(predicted, labels)["calibration_error"] == pytest.approx((0.7 + 0.4) / 4)
    bins = reliability(predicted, labels)
    assert bins["count"].tolist() == [0] * 8 + [1] + [0] * 4 + [3, 0]
    assert bins["correct"].tolist() == [0] * 8 + [1] + [0] * 4 + [2, 0]
    assert bins["confidence"][[8, 13]] == pytest.approx([0.6, 2.7])


def test_confusion(predicted, labels):
    matrix = confusion_matrix(predicted, labels)
    expected = oracle.confusion_matrix(labels, predicted.argmax(1), labels=range(CLASSES))
    np.testing.assert_array_equal(matrix, expected)
    recalls = oracle.recall_score(labels, predicted.argmax(1), average=None)
    assert class_accuracies(matrix) == pytest.approx(recalls.tolist())
    assert class_accuracies(np.array([[3, 1], [0, 0]])) == [0.75, None]


def test_temperature_minimises_nll(logits, labels):
    def nll(log_temperature):
        return oracle.log_loss(labels, special.softmax(logits / np.exp(log_temperature), axis=1))

    best = optimize.minimize_scalar(nll, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(np.exp(best.x), rel=1e-6)
    # Log probabilities are logits too, and temperatures of temperatures multiply.
    softened = scaled(special.log_softmax(logits, axis=1), 2.0)
    assert fit_temperature(softened, labels) == pytest.approx(found / 2, rel=1e-6)
    np.testing.assert_allclose(softened, special.log_softmax(logits / 2, axis=1), atol=1e-5)


def test_temperature_is_bounded(logits):
    """Where answers are never wrong, or always, no finite one is the best."""
    assert fit_temperature(logits, logits.argmax(1)) == pytest.approx(0.01)
    assert fit_temperature(logits, logits.argmin(1)) == pytest.approx(100)
