"""What the losses promise beyond their values: labels, terms, stopped gradients, types.

Recorded values are in test_losses_golden.py, an independent oracle in test_losses_oracle.py, the
parts on extreme and on any inputs in test_losses_properties.py, wrong arguments in
test_losses_errors.py.
"""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax import losses

EXITS, BATCH, CLASSES, WIDTH = 3, 4, 5, 6
LABELS = np.array([4, 0, 2, 2])


def random_exits(width):
    values = np.random.default_rng(width).standard_normal((EXITS, BATCH, width))
    return list(2 * values.astype(np.float32))


LOGITS, FEATURES, PROJECTIONS = (random_exits(w) for w in (CLASSES, WIDTH, 3))

# Every loss with labels, as a function of (logits, features, projections, labels).
LOSSES = {
    "byot": lambda z, f, p, y: losses.byot_loss(z, f, y, alpha=0.4, feature_weight=0.1),
    "pd_byot": lambda z, f, p, y: losses.pd_byot_loss(
        z, f, y, feature_weight=0.1, decay_feature=0.9
    ),
    "skdsam": lambda z, f, p, y: losses.skdsam_loss(
        z, f, p, y, temperature=2.0, attention_temperature=1.0
    ),
    "knowledge_distillation": lambda z, f, p, y: losses.knowledge_distillation_loss(
        z[0], z[-1], y, weight=0.5, temperature=2.0
    ),
}


def assert_zero(gradient):
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


# Labels.


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64])
@pytest.mark.parametrize("name", LOSSES)
def test_integers_and_one_hot_labels_agree(name, dtype):
    one_hot = np.eye(CLASSES, dtype=np.float32)[LABELS]
    expected, expected_terms = LOSSES[name](LOGITS, FEATURES, PROJECTIONS, one_hot)
    scalar, terms = LOSSES[name](LOGITS, FEATURES, PROJECTIONS, LABELS.astype(dtype))
    np.testing.assert_array_equal(scalar, expected)
    jax.tree.map(np.testing.assert_array_equal, terms, expected_terms)


def test_cross_entropy_of_mixed_labels_is_the_mix():
    other = np.roll(LABELS, 1)
    one_hot = np.eye(CLASSES, dtype=np.float32)
    mixed = losses.cross_entropy(LOGITS[0], 0.3 * one_hot[LABELS] + 0.7 * one_hot[other])
    expected = 0.3 * losses.cross_entropy(LOGITS[0], LABELS)
    expected += 0.7 * losses.cross_entropy(LOGITS[0], other)
    np.testing.assert_allclose(mixed, expected, rtol=1e-6)


def test_more_classes_than_the_labels_type_can_count():
    values = losses.cross_entropy(np.zeros((2, 256), np.float32), np.array([0, 255], np.uint8))
    np.testing.assert_allclose(values, np.log(256), rtol=1e-6)


def test_label_that_names_no_class_gives_nan():
    values = losses.cross_entropy(LOGITS[0], np.array([0, -1, CLASSES, 1]))
    np.testing.assert_array_equal(np.isnan(values), [False, True, True, False])


# Terms.


@pytest.mark.parametrize("decays", [{}, {"decay_ce": 0.5, "decay_kl": 2.0, "decay_feature": 3.0}])
def test_byot_can_be_rebuilt_from_its_terms(decays):
    settings = {"alpha": 0.4, "feature_weight": 0.1}
    function = losses.pd_byot_loss if decays else losses.byot_loss
    scalar, terms = function(LOGITS, FEATURES, LABELS, **settings, **decays)
    assert {name: term.shape for name, term in terms.items()} == {
        "cross_entropy": (EXITS, BATCH),
        "kl": (EXITS - 1, BATCH),
        "feature": (EXITS - 1, BATCH),
    }
    factors = {"cross_entropy": [0.25, 0.5, 1], "kl": [4, 2], "feature": [9, 3]}
    weights = {"cross_entropy": 0.6, "kl": 0.4, "feature": 0.1}
    rebuilt = 0.0
    for name, term in terms.items():
        factor = np.float32(factors[name]) if decays else np.ones(len(term), np.float32)
        rebuilt += weights[name] * (factor[:, None] * np.asarray(term)).sum(0).mean()
    np.testing.assert_allclose(scalar, rebuilt, rtol=1e-6)


def test_skdsam_can_be_rebuilt_from_its_terms():
    scalar, terms = losses.skdsam_loss(LOGITS, FEATURES, PROJECTIONS, LABELS)
    assert {name: term.shape for name, term in terms.items()} == {
        "cross_entropy": (BATCH,),
        "kl": (EXITS - 1, BATCH),
        "feature": (EXITS - 1, BATCH),
        "attention": (EXITS - 1, BATCH),
    }
    exits = terms["attention"] * (4.0**2 * terms["kl"] + 100.0 * terms["feature"])
    np.testing.assert_allclose(
        scalar, jnp.mean(terms["cross_entropy"] + 1.5 * exits.sum(0)), rtol=1e-6
    )


def test_knowledge_distillation_can_be_rebuilt_from_its_terms():
    scalar, terms = LOSSES["knowledge_distillation"](LOGITS, None, None, LABELS)
    assert {name: term.shape for name, term in terms.items()} == {
        "cross_entropy": (BATCH,),
        "kl": (BATCH,),
    }
    np.testing.assert_allclose(
        scalar, jnp.mean(terms["cross_entropy"] + 0.5 * 2.0**2 * terms["kl"]), rtol=1e-6
    )


def test_uniform_energy_needs_no_projections():
    with_projections = losses.skdsam_loss(LOGITS, FEATURES, PROJECTIONS, LABELS, energy="uniform")
    without = losses.skdsam_loss(LOGITS, FEATURES, None, LABELS, energy="uniform")
    jax.tree.map(np.testing.assert_array_equal, without, with_projections)
    np.testing.assert_array_equal(without[1]["attention"], 0.5)


# The teacher.


@pytest.mark.parametrize(
    "function",
    [
        lambda student, teacher: losses.distillation_kl(student, teacher, 2.0),
        losses.squared_l2,
        losses.normalized_l1,
        lambda student, teacher: losses.knowledge_distillation_loss(
            student, teacher, LABELS, weight=1.0, temperature=2.0
        )[0],
    ],
    ids=["kl", "squared_l2", "normalized_l1", "knowledge_distillation"],
)
def test_teacher_gets_no_gradient(function):
    student, teacher = jax.grad(lambda *pair: function(*pair).sum(), argnums=(0, 1))(
        LOGITS[0], LOGITS[1]
    )
    assert np.abs(student).max() > 1e-3
    assert_zero(teacher)


@pytest.mark.parametrize(("name", "weight"), [("byot", 0.6), ("pd_byot", 0.7), ("skdsam", 1.0)])
def test_deepest_exit_learns_from_the_labels_only(name, weight):
    def loss(logits, features):
        return LOSSES[name](logits, features, PROJECTIONS, LABELS)[0]

    def own(logits):
        return weight * losses.cross_entropy(logits, LABELS).mean()

    logits, features = jax.grad(loss, argnums=(0, 1))(LOGITS, FEATURES)
    assert_zero(features[-1])
    assert np.abs(features[0]).max() > 1e-3
    np.testing.assert_allclose(logits[-1], jax.grad(own)(LOGITS[-1]), rtol=1e-5, atol=1e-8)


# Types.


@pytest.mark.parametrize("narrow", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", LOSSES)
def test_narrow_inputs_are_computed_in_float32(name, narrow):
    inputs = jax.tree.map(lambda x: jnp.asarray(x, narrow), (LOGITS, FEATURES, PROJECTIONS))
    probabilities = jnp.asarray(np.eye(CLASSES)[LABELS], narrow)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), inputs)
    results = LOSSES[name](*inputs, probabilities)
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {np.dtype(np.float32)}
    jax.tree.map(np.testing.assert_array_equal, results, LOSSES[name](*wide, LABELS))


def test_narrow_student_learns_from_wide_teacher():
    student = jnp.asarray(LOGITS[0], jnp.bfloat16)
    gradient = jax.grad(lambda z: losses.distillation_kl(z, LOGITS[1], 2.0).sum())(student)
    assert gradient.dtype == jnp.bfloat16
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_float64_stays_float64(name):
    with jax.enable_x64(True):
        inputs = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float64), (LOGITS, FEATURES, PROJECTIONS)
        )
        results = LOSSES[name](*inputs, LABELS)
        # Mixed labels come from the data in float32.
        LOSSES[name](*inputs, np.eye(CLASSES, dtype=np.float32)[LABELS])
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {np.dtype(np.float64)}


def test_weights_and_temperatures_may_be_traced():
    settings = {
        "distillation_weight": 0.5,
        "feature_weight": 2.0,
        "temperature": 3.0,
        "attention_temperature": 2.0,
    }
    scheduled = jax.jit(losses.skdsam_loss)(LOGITS, FEATURES, PROJECTIONS, LABELS, **settings)
    constant = losses.skdsam_loss(LOGITS, FEATURES, PROJECTIONS, LABELS, **settings)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), scheduled, constant)


# Whole networks.


@pytest.mark.parametrize("name", ["byot", "pd_byot", "skdsam"])
def test_networks_of_zero_features_train(name):
    zeros = [np.zeros_like(array) for array in FEATURES]

    def loss(logits, features):
        return LOSSES[name](logits, features, PROJECTIONS, LABELS)[0]

    value, (logits, features) = jax.value_and_grad(loss, argnums=(0, 1))(LOGITS, zeros)
    assert np.isfinite(value)
    assert np.isfinite(logits).all()
    assert_zero(np.stack(features))


@pytest.mark.parametrize("name", ["byot", "skdsam"])
def test_order_of_shallow_exits_and_examples_does_not_matter(name):
    order = np.array([2, 0, 3, 1])

    def permuted(exits):
        return [array[order] for array in [*exits[-2::-1], exits[-1]]]

    expected, _ = LOSSES[name](LOGITS, FEATURES, PROJECTIONS, LABELS)
    inputs = map(permuted, (LOGITS, FEATURES, PROJECTIONS))
    actual, _ = LOSSES[name](*inputs, LABELS[order])
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_pd_byot_without_decay_is_byot():
    decays = {"decay_ce": 1.0, "decay_kl": 1.0, "decay_feature": 1.0}
    jax.tree.map(
        np.testing.assert_array_equal,
        losses.pd_byot_loss(LOGITS, FEATURES, LABELS, **decays),
        losses.byot_loss(LOGITS, FEATURES, LABELS),
    )


# Imports.


def test_losses_import_jax_only(pytestconfig):
    heavy = "{'flax', 'tensorflow', 'tensorflow_datasets', 'optax', 'chex'}"
    code = f"import sys, skdsam_jax.losses; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"
