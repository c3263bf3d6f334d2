"""What random layers draw by is no variable of a network: whoever merges it says it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from skdsam_jax.models.variables import Functional, set_variables


class Noisy(nnx.Module):
    """Two random layers, one that is trained, and a source of randomness of its own."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.rngs = rngs
        self.dropouts = nnx.List(nnx.Dropout(0.5, rngs=rngs) for _ in range(2))
        self.norm = nnx.BatchNorm(64, rngs=rngs)

    def __call__(self, values):
        return (
            *(dropout(values) for dropout in self.dropouts),
            jax.random.normal(self.rngs.noise()),
        )


@pytest.fixture(scope="module")
def network():
    return Functional(Noisy)


def _draws(network, key=None):
    module = network.merge(*network.init(0), key)
    return [np.asarray(value) for value in module(jnp.ones((1, 64)))]


def _equal(some, others):
    return [np.array_equal(a, b) for a, b in zip(some, others, strict=True)]


def test_the_key_decides_what_is_drawn(network):
    first = _draws(network, jax.random.key(1))
    assert all(_equal(first, _draws(network, jax.random.key(1))))
    assert not any(_equal(first, _draws(network, jax.random.key(2))))
    assert not np.array_equal(first[0], first[1])


def test_without_a_key_the_same_is_drawn_each_time(network):
    assert all(_equal(_draws(network), _draws(network)))


def test_keys_and_counts_are_neither_trained_nor_kept(network):
    assert set(network.params) == set(network.model_state) == {"norm"}
    module = network.merge(*network.init(0))
    module(jnp.ones((1, 64)))
    params, model_state = network.split(module)
    assert jax.tree.structure(model_state) == jax.tree.structure(network.model_state)
    set_variables(module, params, model_state)
