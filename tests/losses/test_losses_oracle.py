"""The losses against the equations, written once more as loops over numbers in float64 NumPy.

The oracle takes the teacher's logits and features as arguments of their own. Central differences in
everything but these are the gradient that the losses must have.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax import losses

BATCH, CLASSES, WIDTH, PROJECTED = 2, 3, 4, 5


def softmax(row, temperature):
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def cross_entropy(row, probabilities):
    return -sum(p * math.log(q) for p, q in zip(probabilities, softmax(row, 1.0), strict=True))


def divergence(student, teacher, temperature):
    q, p = softmax(student, temperature), softmax(teacher, temperature)
    return sum(p[j] * math.log(p[j] / q[j]) for j in range(len(p)))


def squared_distance(student, teacher):
    return sum((s - t) ** 2 for s, t in zip(student, teacher, strict=True))


def normalized_distance(student, teacher, reduction):
    student_norm, teacher_norm = math.hypot(*student), math.hypot(*teacher)
    total = sum(
        abs(s / student_norm - t / teacher_norm) for s, t in zip(student, teacher, strict=True)
    )
    return total / len(student) if reduction == "mean" else total


def dot(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True))


def attention(query, keys, temperature, energy):
    similarity = {
        "softmax_dot": lambda k: dot(softmax(query, temperature), softmax(k, temperature)),
        "dot": lambda k: dot(query, k) / temperature,
        "scaled_dot": lambda k: dot(query, k) / len(query) ** 0.5,
        "uniform": lambda k: 0.0,
    }[energy]
    return softmax([similarity(key) for key in keys], 1.0)


def pd_byot(inputs, teacher, labels, *, alpha, feature_weight, temperature, decays):
    logits, features = inputs["logits"], inputs["features"]
    exits, total = len(logits), 0.0
    for b in range(BATCH):
        for i in range(1, exits + 1):
            d_ce, d_kl, d_feature = (decay ** (exits - i) for decay in decays)
            total += (1 - alpha) * d_ce * cross_entropy(logits[i - 1][b], labels[b])
            if i < exits:
                kl = divergence(logits[i - 1][b], teacher["logits"][b], temperature)
                feature = squared_distance(features[i - 1][b], teacher["features"][b])
                total += alpha * d_kl * kl + feature_weight * d_feature * feature
    return total / BATCH


def skdsam(inputs, teacher, labels, *, weights, temperatures, energy, reduction, mu=0.0):
    logits, features, projections = inputs["logits"], inputs["features"], inputs["projections"]
    (lambda_, beta), (T, T_attention) = weights, temperatures
    total = 0.0
    for b in range(BATCH):
        total += cross_entropy(logits[-1][b], labels[b])
        keys = [key[b] for key in projections[:-1]]
        for i, a in enumerate(attention(projections[-1][b], keys, T_attention, energy)):
            kl = divergence(logits[i][b], teacher["logits"][b], T)
            distance = normalized_distance(features[i][b], teacher["features"][b], reduction)
            total += lambda_ * a * (T**2 * kl + beta * distance)
            total += mu * cross_entropy(logits[i][b], labels[b])
    return total / BATCH


def central_differences(function, arrays, step=1e-5):
    """The gradient of `function(arrays)`, whose arrays are changed in place meanwhile."""
    gradients = {name: np.zeros_like(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + step
            upper = function(arrays)
            array[index] = value - step
            lower = function(arrays)
            array[index] = value
            gradients[name][index] = (upper - lower) / (2 * step)
    return gradients


def random_inputs(exits, names):
    rng = np.random.default_rng(exits)
    widths = {"logits": CLASSES, "features": WIDTH, "projections": PROJECTED}
    return {name: 2 * rng.standard_normal((exits, BATCH, widths[name])) for name in names}


def assert_matches(oracle, function, inputs, labels):
    """Compares value and gradient of `function(inputs, labels)` with the oracle's."""
    one_hot = labels if labels.ndim == 2 else np.eye(CLASSES)[labels]
    teacher = {name: array[-1].copy() for name, array in inputs.items()}
    expected = oracle(inputs, teacher, one_hot)
    slopes = central_differences(lambda arrays: oracle(arrays, teacher, one_hot), inputs)
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        value, gradients = jax.value_and_grad(lambda arrays: function(arrays, labels)[0])(
            {name: jnp.asarray(array) for name, array in inputs.items()}
        )
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for name, slope in slopes.items():
        np.testing.assert_allclose(
            gradients[name], slope, rtol=0, atol=1e-7 * np.abs(slope).max() + 1e-8, err_msg=name
        )


INTEGERS = np.array([2, 0])
PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.0, 0.1, 0.9]])


@pytest.mark.parametrize("exits", [2, 3, 5])
@pytest.mark.parametrize("decays", [(1.0, 1.0, 1.0), (0.6, 1.1, 0.7)])
@pytest.mark.parametrize("labels", [INTEGERS, PROBABILITIES], ids=["integers", "probabilities"])
def test_byot_and_pd_byot(exits, decays, labels):
    common = {"alpha": 0.35, "feature_weight": 0.01, "temperature": 2.5}
    settings = dict(zip(("decay_ce", "decay_kl", "decay_feature"), decays, strict=True))
    undecayed = decays == (1.0, 1.0, 1.0)

    def function(arrays, labels):
        if undecayed:
            return losses.byot_loss(**arrays, labels=labels, **common)
        return losses.pd_byot_loss(**arrays, labels=labels, **common, **settings)

    assert_matches(
        lambda *arrays: pd_byot(*arrays, **common, decays=decays),
        function,
        random_inputs(exits, ("logits", "features")),
        labels,
    )


@pytest.mark.parametrize("exits", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 5))])
@pytest.mark.parametrize("energy", ["softmax_dot", "dot", "scaled_dot", "uniform"])
@pytest.mark.parametrize(
    ("reduction", "labels"),
    [("mean", INTEGERS), ("sum", PROBABILITIES)],
    ids=["mean-integers", "sum-probabilities"],
)
def test_skdsam(exits, energy, reduction, labels):
    def oracle(*arrays):
        return skdsam(
            *arrays, weights=(0.7, 3.0), temperatures=(2.0, 1.5), energy=energy, reduction=reduction
        )

    def function(arrays, labels):
        return losses.skdsam_loss(
            **arrays,
            labels=labels,
            distillation_weight=0.7,
            feature_weight=3.0,
            temperature=2.0,
            attention_temperature=1.5,
            energy=energy,
            feature_reduction=reduction,
        )

    inputs = random_inputs(exits, ("logits", "features", "projections"))
    assert_matches(oracle, function, inputs, labels)


@pytest.mark.parametrize("labels", [INTEGERS, PROBABILITIES], ids=["integers", "probabilities"])
def test_skdsam_with_labels_for_the_shallow_exits(labels):
    settings = {"weights": (0.7, 3.0), "temperatures": (2.0, 1.0), "reduction": "mean"}

    def oracle(*arrays):
        return skdsam(*arrays, **settings, energy="dot", mu=0.6)

    def function(arrays, labels):
        return losses.skdsam_loss(
            **arrays,
            labels=labels,
            distillation_weight=0.7,
            feature_weight=3.0,
            temperature=2.0,
            attention_temperature=1.0,
            energy="dot",
            label_weight=0.6,
        )

    inputs = random_inputs(3, ("logits", "features", "projections"))
    assert_matches(oracle, function, inputs, labels)


@pytest.mark.parametrize("labels", [INTEGERS, PROBABILITIES], ids=["integers", "probabilities"])
def test_knowledge_distillation(labels):
    """The student's logits are exit 0, the teacher's exit 1."""

    def oracle(inputs, teacher, labels):
        rows = [
            cross_entropy(inputs["logits"][0][b], labels[b])
            + 0.8 * 3.0**2 * divergence(inputs["logits"][0][b], teacher["logits"][b], 3.0)
            for b in range(BATCH)
        ]
        return sum(rows) / BATCH

    def function(arrays, labels):
        student, teacher = arrays["logits"]
        return losses.knowledge_distillation_loss(
            student, teacher, labels, weight=0.8, temperature=3.0
        )

    assert_matches(oracle, function, random_inputs(2, ("logits",)), labels)
