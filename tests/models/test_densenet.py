import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from flax import nnx

from skdsam_jax.models.densenet import DenseLayer, DenseNet, Transition


def settings():
    return {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}


def unit_output(images, unit, padding):
    activated = numpy_layers.relu(numpy_layers.normalized(images, unit.norm))
    return numpy_layers.convolution(activated, unit.conv.kernel[...], padding=padding)


def layer_output(images, layer):
    wide = unit_output(images, layer.units[0], padding=0)
    return np.concatenate([images, unit_output(wide, layer.units[1], padding=1)], -1)


def transition_output(images, transition):
    features = unit_output(images, transition, padding=0)
    height, width = features.shape[1:3]
    rows = [
        [features[:, top : top + 2, left : left + 2].mean((1, 2)) for left in range(0, width, 2)]
        for top in range(0, height, 2)
    ]
    return np.stack([np.stack(row, 1) for row in rows], 1)


def test_dense_layer():
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    with jax.enable_x64(True):
        layer = DenseLayer(3, 2, **settings())
        numpy_layers.shake(layer)
        actual = layer(jnp.asarray(images), train=True)
        expected = layer_output(images, layer)
    assert actual.shape == (2, 5, 4, 5)
    assert layer.units[0].conv.out_features == 8
    np.testing.assert_allclose(actual, expected, atol=1e-10)


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
def test_transition(size):
    images = np.random.default_rng(0).normal(size=(3, *size, 4))
    with jax.enable_x64(True):
        transition = Transition(4, **settings())
        numpy_layers.shake(transition)
        actual = transition(jnp.asarray(images), train=True)
        np.testing.assert_allclose(actual, transition_output(images, transition), atol=1e-10)


def test_transition_averages_in_float32():
    transition = Transition(2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    # With these averages, scale and kernel the unit hands on its images.
    transition.norm.var[...] = jnp.full(2, 1 - 1e-5)
    transition.conv.kernel[...] = jnp.asarray([1.0, 0.0]).reshape(1, 1, 2, 1)
    images = jnp.asarray([1, 1 / 512, 1 / 512, 1 / 512], jnp.bfloat16).reshape(1, 2, 2, 1)
    actual = transition(jnp.repeat(images, 2, axis=-1), train=False)
    assert actual.dtype == jnp.bfloat16
    # In bfloat16 1 + 1/512 is 1, whatever the order of the next two.
    assert float(actual[0, 0, 0, 0]) == float(jnp.bfloat16((1 + 3 / 512) / 4)) != 0.25


@pytest.mark.parametrize("stem", ["small", pytest.param("imagenet", marks=pytest.mark.slow)])
def test_network(stem):
    """Tapped before each transition; only the imagenet stem is normalised."""
    images = np.random.default_rng(0).normal(size=(2, 8, 7, 3))
    with jax.enable_x64(True):
        network = DenseNet((1, 2), width=4, stem=stem, **settings())
        numpy_layers.shake(network)
        graphdef, state = nnx.split(network)
        call = jax.jit(lambda state, x: nnx.merge(graphdef, state, copy=True)(x, train=True))
        actual = call(state, jnp.asarray(images))
        if stem == "small":
            features = numpy_layers.convolution(images, network.stem.kernel[...], padding=1)
        else:
            features = numpy_layers.unit(images, network.stem, stride=2, padding=3)
            features = numpy_layers.max_pool(numpy_layers.relu(features))
        first = layer_output(features, network.stages[0][0])
        second = transition_output(first, network.transitions[0])
        for layer in network.stages[1]:
            second = layer_output(second, layer)
        second = numpy_layers.relu(numpy_layers.normalized(second, network.norm))
    for ours, theirs in zip(actual, (first, second), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-8)
