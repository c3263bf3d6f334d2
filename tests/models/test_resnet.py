import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from flax import nnx

from skdsam_jax.models.resnet import BasicBlock, Block8x64d, Block32x4d, BottleneckBlock


def test_only_training_updates_the_running_averages():
    with jax.enable_x64(True):
        settings = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
        block = BasicBlock(3, 4, stride=2, **settings)
        images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)))
        fresh = jax.tree.map(np.asarray, nnx.state(block, nnx.BatchStat))
        block(images, train=False)
        after_evaluation = jax.tree.map(np.asarray, nnx.state(block, nnx.BatchStat))
        jax.tree.map(np.testing.assert_array_equal, fresh, after_evaluation)
        block(images, train=True)
        mapped = numpy_layers.convolution(images, block.shortcut.conv.kernel[...], 2)
        np.testing.assert_allclose(
            block.shortcut.norm.mean[...], 0.1 * mapped.mean((0, 1, 2)), atol=1e-12
        )
        np.testing.assert_allclose(
            block.shortcut.norm.var[...], 0.9 + 0.1 * mapped.var((0, 1, 2)), atol=1e-12
        )


@pytest.mark.parametrize(("in_features", "stride"), [(3, 2), (8, 1), (8, 2)])
def test_bottleneck_block(in_features, stride):
    """Two of eight features wide inside; the 3x3 convolution strides."""
    images = np.random.default_rng(0).normal(size=(2, 5, 6, in_features))
    with jax.enable_x64(True):
        settings = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
        block = BottleneckBlock(in_features, 2, stride=stride, **settings)
        numpy_layers.shake(block)
        actual = block(jnp.asarray(images), train=True)
        first, second, third = block.branch
        features = numpy_layers.relu(numpy_layers.unit(images, first))
        features = numpy_layers.relu(numpy_layers.unit(features, second, stride, padding=1))
        features = numpy_layers.unit(features, third)
        identity = in_features == 8 and stride == 1
        assert (block.shortcut is None) == identity
        shortcut = images if identity else numpy_layers.unit(images, block.shortcut, stride)
        np.testing.assert_allclose(actual, numpy_layers.relu(features + shortcut), atol=1e-10)


class TwoGroups(BottleneckBlock):
    groups = 2
    group_width = 32


@pytest.mark.parametrize("stride", [1, 2])
def test_grouped_block(stride):
    """Two groups of three features inside a block of width six, which ends with 24."""
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    with jax.enable_x64(True):
        settings = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
        block = TwoGroups(3, 6, stride=stride, **settings)
        numpy_layers.shake(block)
        actual = block(jnp.asarray(images), train=True)
        first, second, third = block.branch
        assert second.conv.kernel.shape == (3, 3, 3, 6)
        features = numpy_layers.relu(numpy_layers.unit(images, first))
        features = numpy_layers.relu(numpy_layers.unit(features, second, stride, padding=1))
        features = numpy_layers.unit(features, third)
        shortcut = numpy_layers.unit(images, block.shortcut, stride)
    np.testing.assert_allclose(actual, numpy_layers.relu(features + shortcut), atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "kernel"), [(Block32x4d, (3, 3, 4, 128)), (Block8x64d, (3, 3, 64, 512))]
)
def test_resnext_blocks_at_width_64(kind, kernel):
    """The first block of the published networks."""
    block = nnx.eval_shape(lambda: kind(64, 64, rngs=nnx.Rngs(0)))
    assert [unit.conv.kernel.shape for unit in block.branch] == [
        (1, 1, 64, kernel[3]),
        kernel,
        (1, 1, kernel[3], 256),
    ]
