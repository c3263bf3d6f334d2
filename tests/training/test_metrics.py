"""Metrics against NumPy in float64, and sums that do not depend on how a set was cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax.evaluation.metrics import (
    CALIBRATION_BINS,
    exit_sums,
    summarize_exits,
    summarize_training,
    training_sums,
)
from skdsam_jax.methods import ExitOutputs

CLASSES = 7


def _outputs(exits, batch, seed=0, attention=True):
    generator = np.random.default_rng(seed)
    logits = 3 * generator.normal(size=(exits, batch, CLASSES))
    weights = generator.dirichlet(np.ones(exits - 1), size=batch).T if exits > 1 else None
    labels = generator.integers(0, CLASSES, batch).astype(np.int32)
    return logits, weights if attention else None, labels


def _measure(logits, weights, labels, mask=None):
    mask = np.ones(len(labels)) if mask is None else mask
    attention = None if weights is None else jnp.asarray(weights)
    outputs = ExitOutputs(tuple(jnp.asarray(logits)), (), attention=attention)
    return jax.jit(exit_sums)(outputs, jnp.asarray(labels), jnp.asarray(mask))


def _softmax(logits):
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def _oracle(logits, weights, labels):
    """The same measures, example by example."""
    probabilities = _softmax(logits)
    exits, batch, _ = probabilities.shape
    weights = np.full((exits - 1, batch), 1 / (exits - 1)) if weights is None else weights
    mixture = sum(w[:, None] * q for w, q in zip(weights, probabilities[:-1], strict=True))
    ensemble = (probabilities[-1] + mixture) / 2
    measures = {"accuracy": [], "top5": [], "nll": [], "calibration": []}
    for q in [*probabilities, ensemble]:
        hits = q.argmax(-1) == labels
        measures["accuracy"].append(hits.mean())
        top5 = np.argsort(-q, axis=-1)[:, :5]
        measures["top5"].append((top5 == labels[:, None]).any(-1).mean())
        measures["nll"].append(-np.log(q[np.arange(batch), labels]).mean())
        error = 0.0
        for b in range(CALIBRATION_BINS):
            low, high = b / CALIBRATION_BINS, (b + 1) / CALIBRATION_BINS
            inside = (q.max(-1) > low) & (q.max(-1) <= high)
            if inside.any():
                gap = abs(hits[inside].mean() - q.max(-1)[inside].mean())
                error += inside.mean() * gap
        measures["calibration"].append(error)

    def divergence(p, q):
        return (p * np.log(p / q)).sum(-1).mean()

    measures["kl"] = [divergence(probabilities[-1], q) for q in probabilities[:-1]]
    measures["mixture_kl"] = divergence(probabilities[-1], mixture)
    measures["entropy"] = -(weights * np.log(weights)).sum(0).mean()
    measures["attention"] = weights.mean(-1)
    return measures


@pytest.mark.parametrize(("exits", "attention"), [(2, True), (4, True), (4, False)])
def test_exit_measures_equal_the_oracle(exits, attention):
    logits, weights, labels = _outputs(exits, 50, attention=attention)
    expected = _oracle(logits, weights, labels)
    with jax.enable_x64(True):
        measures = summarize_exits(jax.device_get(_measure(logits, weights, labels)))
    assert measures["examples"] == 50
    for name, key in [
        ("accuracy", "exit_accuracies"),
        ("top5", "exit_top5_accuracy"),
        ("nll", "exit_nll"),
        ("calibration", "exit_calibration_error"),
    ]:
        np.testing.assert_allclose(measures[key], expected[name][:-1], rtol=1e-9)
    for name, key in [
        ("accuracy", "accuracy"),
        ("top5", "top5_accuracy"),
        ("nll", "nll"),
        ("calibration", "calibration_error"),
    ]:
        np.testing.assert_allclose(measures[key], expected[name][-2], rtol=1e-9)
        np.testing.assert_allclose(measures[f"ensemble_{key}"], expected[name][-1], rtol=1e-9)
    np.testing.assert_allclose(measures["kl"], expected["kl"], rtol=1e-9)
    np.testing.assert_allclose(measures["mixture_kl"], expected["mixture_kl"], rtol=1e-9)
    found = [measures[name] for name in ("attention_entropy", "attention_weights")]
    if attention:
        np.testing.assert_allclose(found[0], expected["entropy"], rtol=1e-9)
        np.testing.assert_allclose(found[1], expected["attention"], rtol=1e-9)
    else:
        assert found == [None, None]


def test_sums_do_not_depend_on_batches_or_padding():
    logits, weights, labels = _outputs(3, 30)
    whole = _measure(logits, weights, labels)
    first = _measure(logits[:, :20], weights[:, :20], labels[:20])
    rest_logits = np.concatenate([logits[:, 20:], 100 * np.ones((3, 10, CLASSES))], axis=1)
    rest_weights = np.concatenate([weights[:, 20:], np.full((2, 10), 0.5)], axis=1)
    rest_labels = np.concatenate([labels[20:], np.zeros(10, np.int32)])
    mask = np.arange(20) < 10
    rest = _measure(rest_logits, rest_weights, rest_labels, mask)
    for name in whole:
        np.testing.assert_allclose(first[name] + rest[name], whole[name], rtol=1e-5, atol=1e-5)


def test_one_exit_is_its_own_ensemble_and_attends_to_nothing():
    logits, _, labels = _outputs(1, 20)
    measures = summarize_exits(jax.device_get(_measure(logits, None, labels)))
    assert measures["exit_accuracies"] == [measures["accuracy"]]
    assert measures["ensemble_accuracy"] == measures["accuracy"]
    assert measures["ensemble_nll"] == measures["nll"]
    for name in ("kl", "mixture_kl", "attention_weights", "attention_entropy"):
        assert measures[name] is None


def test_constant_logits_are_not_counted_as_correct():
    labels = np.arange(CLASSES, dtype=np.int32)
    measures = summarize_exits(_measure(np.zeros((2, CLASSES, CLASSES)), None, labels))
    assert measures["accuracy"] == pytest.approx(1 / CLASSES)
    assert measures["top5_accuracy"] == pytest.approx(5 / CLASSES)
    assert measures["calibration_error"] == pytest.approx(0, abs=1e-6)


def test_extreme_logits_stay_finite():
    logits = np.zeros((3, 4, CLASSES))
    logits[:, :, 0], logits[2, :, 1] = 1e4, 2e4
    measures = summarize_exits(_measure(logits, None, np.zeros(4, np.int32)))
    assert np.isfinite([measures["nll"], measures["mixture_kl"], *measures["kl"]]).all()


@pytest.mark.parametrize("soft", [False, True])
def test_training_sums_are_means_after_division(soft):
    logits, weights, labels = _outputs(3, 8)
    outputs = ExitOutputs(tuple(jnp.asarray(logits)), (), attention=jnp.asarray(weights))
    terms = {"kl": jnp.arange(16.0).reshape(2, 8), "cross_entropy": jnp.arange(8.0)}
    given = jax.nn.one_hot(labels, CLASSES) if soft else jnp.asarray(labels)
    gradient = {"a": jnp.asarray([3.0]), "b": jnp.asarray([[4.0]])}
    sums = training_sums(jnp.asarray(2.0), terms, outputs, given, gradient)
    twice = summarize_training({name: 2 * value for name, value in sums.items()})
    assert twice["loss"] == 2.0
    assert twice["kl"] == [3.5, 11.5]
    assert twice["cross_entropy"] == 3.5
    assert twice["gradient_norm"] == 5.0
    np.testing.assert_allclose(twice["attention_weights"], weights.mean(-1), rtol=1e-6)
    np.testing.assert_allclose(twice["accuracy"], (logits.argmax(-1) == labels).mean(-1))
