import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from flax import nnx

from skdsam_jax.models.wide_resnet import PreactivationBlock, WideResNet


def settings():
    return {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}


def activated(images, norm):
    return numpy_layers.relu(numpy_layers.normalized(images, norm))


def convolved(images, conv, stride=1, padding=1):
    return numpy_layers.convolution(images, conv.kernel[...], stride, padding)


def block_output(images, block, stride):
    first = activated(images, block.norms[0])
    features = activated(convolved(first, block.convs[0], stride), block.norms[1])
    shortcut = images
    if block.shortcut is not None:
        shortcut = convolved(first, block.shortcut, stride, padding=0)
    return convolved(features, block.convs[1]) + shortcut


@pytest.mark.parametrize(("in_features", "stride"), [(3, 1), (4, 1), (4, 2)])
def test_preactivation_block(in_features, stride):
    images = np.random.default_rng(0).normal(size=(2, 5, 6, in_features))
    with jax.enable_x64(True):
        block = PreactivationBlock(in_features, 4, stride=stride, **settings())
        numpy_layers.shake(block)
        actual = block(jnp.asarray(images), train=True)
        assert (block.shortcut is None) == (in_features == 4 and stride == 1)
        np.testing.assert_allclose(actual, block_output(images, block, stride), atol=1e-10)


def test_network():
    """Stages hand on raw sums; the last is normalised and rectified."""
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    with jax.enable_x64(True):
        network = WideResNet(10, 2, width=1, **settings())
        numpy_layers.shake(network)
        graphdef, state = nnx.split(network)
        call = jax.jit(lambda state, x: nnx.merge(graphdef, state, copy=True)(x, train=True))
        actual = [np.asarray(stage) for stage in call(state, jnp.asarray(images))]
        features, expected = convolved(images, network.stem), []
        for stage, (block,) in enumerate(network.stages):
            features = block_output(features, block, 1 if stage == 0 else 2)
            expected.append(features)
        expected[-1] = activated(features, network.norm)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert min(stage.min() for stage in actual[:-1]) < 0 == actual[-1].min()
