"""Softening and attention weights; their recorded values are in test_losses_golden.py."""

import itertools
import math

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax import attention, losses

KEYS, BATCH, WIDTH = 3, 2, 4
quick = hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
temperatures = st.floats(0.1, 100.0)


def numbers(shape, limit):
    return arrays.arrays(np.float32, shape, elements=st.floats(-limit, limit, width=32))


@pytest.fixture(autouse=True)
def strict():
    """Nothing below may lean on implicit promotion of types or ranks."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def random_projections(batch=BATCH, width=WIDTH):
    """Query [batch, width] and keys [KEYS, batch, width] of unit variance."""
    values = np.random.default_rng(0).standard_normal((KEYS + 1, batch, width), np.float32)
    return values[-1], values[:-1]


def test_energies_are_the_documented_ones():
    assert attention.ENERGIES == ("softmax_dot", "dot", "scaled_dot", "uniform")


def test_losses_hands_on_soften_and_attention_weights():
    assert losses.soften is attention.soften
    assert losses.attention_weights is attention.attention_weights


def test_defaults_are_the_thesis():
    query, keys = random_projections()
    expected = attention.attention_weights(query, keys, 4.0, "softmax_dot")
    np.testing.assert_array_equal(attention.attention_weights(query, keys), expected)


def test_soften_keeps_any_leading_axes():
    logits = np.log(np.array([[[1.0, 3.0]], [[4.0, 1.0]]], np.float32))
    np.testing.assert_allclose(
        attention.soften(logits, 1.0), [[[0.25, 0.75]], [[0.8, 0.2]]], rtol=1e-6
    )
    root_two = math.sqrt(2)
    np.testing.assert_allclose(
        attention.soften(logits[1, 0] / 2, 1.0), attention.soften(logits[1, 0], 2.0), rtol=1e-6
    )
    np.testing.assert_allclose(
        attention.soften(np.log(np.float32([2, 1])), 2.0),
        [root_two / (1 + root_two), 1 / (1 + root_two)],
        rtol=1e-6,
    )


@quick
@hypothesis.given(numbers((BATCH, WIDTH), 30), temperatures)
def test_soften_gives_distributions(logits, temperature):
    softened = attention.soften(logits, temperature)
    assert softened.dtype == jnp.float32
    assert (softened >= 0).all()
    np.testing.assert_allclose(softened.sum(-1), 1, rtol=1e-6)


@quick
@hypothesis.given(st.permutations([-2.0, 0.5, 1.0, 7.0]))
def test_soften_at_extreme_temperatures(logits):
    logits = np.array(logits, np.float32)
    np.testing.assert_allclose(attention.soften(logits, 1e6), 1 / 4, atol=1e-5)
    np.testing.assert_allclose(attention.soften(logits, 1e-3), logits == logits.max(), atol=1e-6)


@quick
@hypothesis.given(numbers((BATCH, WIDTH), 30), numbers((KEYS, BATCH, WIDTH), 30), temperatures)
@pytest.mark.parametrize("energy", attention.ENERGIES)
def test_weights_are_a_distribution_over_exits(energy, query, keys, temperature):
    weights = attention.attention_weights(query, keys, temperature, energy)
    assert weights.shape == (KEYS, BATCH)
    assert weights.dtype == jnp.float32
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-6)


@pytest.mark.parametrize("order", list(itertools.permutations(range(KEYS)))[1:])
@pytest.mark.parametrize("energy", attention.ENERGIES)
def test_weights_follow_the_order_of_the_exits(order, energy):
    query, keys = random_projections()
    weights = attention.attention_weights(query, keys, energy=energy)
    permuted = attention.attention_weights(query, keys[list(order)], energy=energy)
    np.testing.assert_allclose(permuted, weights[jnp.array(order)], rtol=1e-6)


def test_examples_do_not_touch_each_other():
    query, keys = random_projections()
    weights = attention.attention_weights(query, keys, 1.0)
    alone = attention.attention_weights(query[1:], keys[:, 1:], 1.0)
    np.testing.assert_allclose(weights[:, 1:], alone, rtol=1e-6)
    assert np.abs(weights[:, 0] - weights[:, 1]).max() > 1e-3


@pytest.mark.parametrize("energy", attention.ENERGIES)
def test_one_shallow_exit_has_all_the_weight(energy):
    query, keys = random_projections()
    weights = attention.attention_weights(query, keys[:1], energy=energy)
    np.testing.assert_array_equal(weights, np.ones((1, BATCH)))


@quick
@hypothesis.given(numbers((BATCH, WIDTH), 1e4), numbers((KEYS, BATCH, WIDTH), 1e4))
def test_literal_energy_cannot_leave_its_bounds(query, keys):
    weights = attention.attention_weights(query, keys, 1.0)
    assert (weights > 0.155).all()
    assert (weights < 0.5765).all()


def test_literal_energy_reaches_its_bounds():
    one, other = np.float32([[1e3, 0]]), np.float32([[0, 1e3]])
    highest = attention.attention_weights(one, [one, other, other], 1.0)[0, 0]
    lowest = attention.attention_weights(one, [one, one, other], 1.0)[2, 0]
    np.testing.assert_allclose(highest, math.e / (2 + math.e), rtol=1e-6)
    np.testing.assert_allclose(lowest, 1 / (1 + 2 * math.e), rtol=1e-6)


def test_literal_energy_is_uniform_for_wide_projections():
    query, keys = random_projections(batch=64, width=512)
    literal = np.abs(attention.attention_weights(query, keys) - 1 / 3).max()
    assert 0 < literal < 6e-6
    dot = np.abs(attention.attention_weights(query, keys, energy="dot") - 1 / 3).max()
    assert dot > 0.5


def test_uniform_depends_on_nothing():
    query, keys = random_projections()
    np.testing.assert_array_equal(
        attention.attention_weights(query * np.nan, keys, energy="uniform"),
        np.full((KEYS, BATCH), np.float32(1) / 3),
    )


@pytest.mark.parametrize("energy", ["softmax_dot", "dot", "scaled_dot"])
def test_gradient_reaches_query_and_keys(energy):
    query, keys = random_projections()

    def first_weight(query, keys):
        return attention.attention_weights(query, keys, 1.0, energy)[0].sum()

    for gradient in jax.grad(first_weight, argnums=(0, 1))(query, keys):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("narrow", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("energy", attention.ENERGIES)
def test_narrow_inputs_are_computed_in_float32(narrow, energy):
    query, keys = (jnp.asarray(array, narrow) for array in random_projections())
    weights = attention.attention_weights(query, keys, energy=energy)
    wide = attention.attention_weights(
        query.astype(jnp.float32), keys.astype(jnp.float32), energy=energy
    )
    assert weights.dtype == jnp.float32
    np.testing.assert_array_equal(weights, wide)
    assert attention.soften(query, 4.0).dtype == jnp.float32


@pytest.mark.parametrize("energy", attention.ENERGIES)
def test_float64_stays_float64(energy):
    with jax.enable_x64(True):
        query, keys = (jnp.asarray(array, jnp.float64) for array in random_projections())
        assert attention.attention_weights(query, keys, energy=energy).dtype == jnp.float64
        assert attention.soften(query, 4.0).dtype == jnp.float64


QUERY, SHALLOW = random_projections()


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        (r"query: takes .* \(4,\)", (QUERY[0], SHALLOW)),
        (r"keys\[0\]: takes .* \(4,\)", (QUERY, SHALLOW[0])),
        (r"keys\[1\]: shape \(2, 3\)", (QUERY, [QUERY, QUERY[:, 1:]])),
        (r"keys: each .* \(2, 4\), not \(1, 4\)", (QUERY, SHALLOW[:, 1:])),
        ("keys: takes .* not 0", (QUERY, [])),
        ("temperature: .* not 0", (QUERY, SHALLOW, 0)),
        ("temperature: .* not nan", (QUERY, SHALLOW, math.nan)),
        ("temperature: .* not -1.0", (QUERY, SHALLOW, np.float32(-1), "uniform")),
        ("energy: takes one of softmax_dot, .* not 'cosine'", (QUERY, SHALLOW, 4.0, "cosine")),
    ],
)
def test_attention_weights_names_the_wrong_argument(message, arguments):
    with pytest.raises(ValueError, match=f"^{message}"):
        attention.attention_weights(*arguments)


def test_soften_names_the_wrong_argument():
    with pytest.raises(ValueError, match=r"^logits: takes"):
        attention.soften(np.float32(1), 4.0)
    with pytest.raises(ValueError, match=r"^temperature: takes a positive number, not -4"):
        attention.soften(QUERY, -4)
