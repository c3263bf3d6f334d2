import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from flax import nnx

from skdsam_jax.models import BACKBONES, create_backbone
from skdsam_jax.models.resnet import BasicBlock, BottleneckBlock
from skdsam_jax.options import ConfigError


def abstract_call(backbone, images, *, train=True):
    """Shapes of a backbone's stages and of its variables after a call."""
    graphdef, state = nnx.split(backbone)

    def call(state, images):
        module = nnx.merge(graphdef, state, copy=True)
        return module(images, train=train), nnx.state(module)

    return jax.eval_shape(call, state, images)


def abstract_backbone(name, **options):
    return nnx.eval_shape(lambda: create_backbone(name, rngs=nnx.Rngs(0), **options))


@pytest.mark.parametrize("size", [(32, 32), (16, 16), (28, 28), (9, 20)])
@pytest.mark.parametrize("name", BACKBONES)
def test_stages(name, size):
    backbone = abstract_backbone(name, width=8)
    stages, _ = abstract_call(backbone, jax.ShapeDtypeStruct((2, *size, 3), jnp.float32))
    assert len(stages) == len(backbone.channels) == len(backbone.reductions) >= 3
    assert isinstance(stages, tuple)
    assert isinstance(backbone.preactivation, bool)
    for stage, channels, reduction in zip(
        stages, backbone.channels, backbone.reductions, strict=True
    ):
        assert stage.shape == (2, *(-(-side // reduction) for side in size), channels)
    assert [2 * reduction for reduction in backbone.reductions[:-1]] == [*backbone.reductions[1:]]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("train", [True, False])
def test_bfloat16_keeps_variables_in_float32(name, train):
    backbone = abstract_backbone(name, width=8, dtype=jnp.bfloat16)
    stages, state = abstract_call(
        backbone, jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32), train=train
    )
    assert {stage.dtype for stage in stages} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}


def test_width_scales_all_stages():
    assert abstract_backbone("resnet18").channels == (64, 128, 256, 512)
    assert abstract_backbone("resnet18", width=4).channels == (4, 8, 16, 32)
    assert abstract_backbone("resnet50", width=4).channels == (16, 32, 64, 128)


def test_two_builds_have_equal_structures():
    first, second = (nnx.split(abstract_backbone("resnet18", width=8))[0] for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


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


@pytest.mark.parametrize(
    ("name", "hint"), [("resnet81", "did you mean resnet"), ("x", "known are .*resnet18")]
)
def test_unknown_backbone(name, hint):
    with pytest.raises(ConfigError, match=rf"config\.model\.name.*{hint}") as error:
        create_backbone(name, rngs=nnx.Rngs(0))
    assert "\n" not in str(error.value)
