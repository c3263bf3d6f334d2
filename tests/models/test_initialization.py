import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from skdsam_jax.models import Projection, SepConvHead, initialize
from skdsam_jax.models.layers import Conv, Dense, DepthwiseConv


@pytest.fixture(scope="module", params=["layer by layer", "one draw"])
def start(request):
    """Builds a module in either way of starting its parameters."""
    if request.param == "one draw":
        return lambda build: initialize(build, 0)
    return lambda build: build(nnx.Rngs(0))


@pytest.mark.parametrize(
    ("build", "deviation"),
    [
        (lambda rngs: Conv(16, 64, 3, rngs=rngs), np.sqrt(2 / (64 * 9))),
        (lambda rngs: Conv(64, 128, 1, rngs=rngs), np.sqrt(2 / 128)),
        (lambda rngs: Conv(64, 64, 3, groups=4, rngs=rngs), np.sqrt(2 / (64 * 9))),
        (lambda rngs: DepthwiseConv(1024, rngs=rngs), np.sqrt(2 / (1024 * 9))),
    ],
)
def test_convolutions_start_normal(start, build, deviation):
    weights = np.asarray(start(build).kernel[...]).ravel() / deviation
    error = 1 / np.sqrt(weights.size)
    assert abs(weights.mean()) < 4 * error
    assert abs(weights.std() - 1) < 4 * error
    # Not truncated: 0.27 % of a normal distribution lie beyond three deviations.
    assert 0.001 < np.mean(np.abs(weights) > 3) < 0.006


def test_dense_starts_uniform(start):
    layer = start(lambda rngs: Dense(64, 400, rngs=rngs))
    for weights in (layer.kernel[...], layer.bias[...]):
        assert np.abs(weights).max() <= 1 / 8
        assert np.abs(weights).max() > 0.99 / 8
        np.testing.assert_allclose(np.std(weights), 1 / 8 / np.sqrt(3), rtol=0.1)


class Part(nnx.Module):
    """One of every kind of layer, some of them of the same shape."""

    def __init__(self, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32) -> None:
        settings = {"dtype": dtype, "param_dtype": dtype, "rngs": rngs}
        self.head = SepConvHead((4, 8), preactivation=True, **settings)
        self.projections = nnx.List(Projection(8, **settings) for _ in range(2))


def leaves(module):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(module))]


def test_no_number_is_handed_out_twice():
    part = initialize(Part, 0)
    kernels = [
        np.asarray(variable[...]).ravel()
        for path, variable in nnx.to_flat_state(nnx.state(part, nnx.Param))
        if path[-1] == "kernel"
    ]
    normalized = np.concatenate([kernel / np.abs(kernel).max() for kernel in kernels])
    assert len(np.unique(np.abs(normalized))) > 0.99 * (normalized.size - len(kernels))


def test_one_draw_builds_the_same_structure():
    ordinary, shared = (nnx.split(part)[0] for part in (Part(nnx.Rngs(0)), initialize(Part, 0)))
    assert str(ordinary) == str(shared)


def test_the_seed_decides():
    first, again, other = (leaves(initialize(Part, seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_initial_values_do_not_depend_on_compilation_or_sharding(start):
    def state():
        return nnx.state(start(Part))

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    replicated = jax.sharding.NamedSharding(mesh, jax.P())
    eager, compiled, sharded = state(), jax.jit(state)(), jax.jit(state, out_shardings=replicated)()
    for other in (compiled, sharded):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), eager, other)


def test_float64(start):
    with jax.enable_x64(True):
        part = start(lambda rngs: Part(rngs, jnp.float64))
        assert {leaf.dtype for leaf in leaves(part)} == {np.dtype(np.float64)}
        kernel = np.asarray(part.projections[0].inner.kernel[...])
    assert not np.array_equal(kernel, kernel.astype(np.float32))


class Mixed(nnx.Module):
    """A layer of this library between two of Flax's own."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(4, 4, rngs=rngs)
        self.dense = Dense(64, 8, rngs=rngs)
        self.second = nnx.Linear(4, 4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)


def test_layers_of_flax_are_given_keys_of_their_own():
    mixed, again, other = (initialize(Mixed, seed) for seed in (0, 0, 1))
    kernels = [np.asarray(part.first.kernel[...]) for part in (mixed, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert not np.array_equal(kernels[0], np.asarray(mixed.second.kernel[...]))


def test_layers_of_flax_take_no_numbers_from_the_shared_draw():
    alone = initialize(lambda rngs: Dense(64, 8, rngs=rngs), 0)
    np.testing.assert_array_equal(
        np.asarray(initialize(Mixed, 0).dense.kernel[...]), np.asarray(alone.kernel[...])
    )
