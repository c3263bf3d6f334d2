import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from flax import nnx

from skdsam_jax.models.stems import Stem


@pytest.mark.parametrize("size", [(8, 8), (9, 5), (1, 1)])
def test_imagenet_stem(size):
    images = np.random.default_rng(0).normal(size=(3, *size, 3))
    with jax.enable_x64(True):
        stem = Stem(2, "imagenet", dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        numpy_layers.shake(stem)
        actual = stem(jnp.asarray(images), train=True)
        features = numpy_layers.relu(numpy_layers.unit(images, stem, stride=2, padding=3))
    assert stem.reduction == 4
    np.testing.assert_allclose(actual, numpy_layers.max_pool(features), atol=1e-10)


def test_small_stem_keeps_the_size():
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    with jax.enable_x64(True):
        stem = Stem(2, "small", dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        numpy_layers.shake(stem)
        actual = stem(jnp.asarray(images), train=True)
        expected = numpy_layers.relu(numpy_layers.unit(images, stem, padding=1))
    assert stem.reduction == 1
    np.testing.assert_allclose(actual, expected, atol=1e-10)
