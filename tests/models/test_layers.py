import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from flax import nnx

from skdsam_jax.models.layers import (
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    global_average_pool,
)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "padding", "groups"),
    [
        (8, 3, 1, None, 1),
        (8, 3, 2, None, 1),
        (7, 3, 2, None, 1),
        (8, 1, 2, None, 1),
        (8, 4, 4, 0, 1),
        (8, 3, 2, None, 2),
    ],
)
def test_conv(size, kernel_size, stride, padding, groups):
    images = random(2, size, size + 1, 4)
    with jax.enable_x64(True):
        conv = Conv(
            4, 6, kernel_size, stride=stride, padding=padding, groups=groups,
            dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0),
        )  # fmt: skip
        actual = conv(jnp.asarray(images))
        kernel = np.asarray(conv.kernel[...])
    pad = kernel_size // 2 if padding is None else padding
    expected = numpy_layers.convolution(images, kernel, stride, pad, groups)
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    assert conv.bias is None


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_conv(stride):
    images = random(2, 6, 5, 4)
    layer = DepthwiseConv(4, stride=stride, rngs=nnx.Rngs(0))
    expected = numpy_layers.depthwise(images, layer.kernel[...], stride)
    np.testing.assert_allclose(layer(jnp.asarray(images)), expected, atol=1e-5)
    assert DepthwiseConv(4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))(images).dtype == jnp.bfloat16


def test_batch_norm_trains_on_the_batch_and_averages_its_statistics():
    norm = BatchNorm(3, rngs=nnx.Rngs(0))
    numpy_layers.shake(norm)
    mean, variance = np.zeros(3), np.ones(3)
    for step in range(3):
        batch = random(4, 5, 6, 3, seed=step) * [1, 2, 3] + [0, -1, 5]
        actual = norm(jnp.asarray(batch), train=True)
        np.testing.assert_allclose(actual, numpy_layers.normalized(batch, norm), atol=1e-5)
        mean = 0.9 * mean + 0.1 * batch.mean((0, 1, 2))
        variance = 0.9 * variance + 0.1 * batch.var((0, 1, 2))
        np.testing.assert_allclose(norm.mean[...], mean, atol=1e-6)
        np.testing.assert_allclose(norm.var[...], variance, rtol=1e-6)
    expected = (batch - mean) / np.sqrt(variance + 1e-5)
    expected = expected * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
    np.testing.assert_allclose(norm(jnp.asarray(batch), train=False), expected, atol=1e-5)
    np.testing.assert_allclose(norm.mean[...], mean, atol=1e-6)


def test_batch_norm_in_bfloat16_computes_in_float32():
    batch = jnp.asarray(random(64, 3) + 8, jnp.bfloat16)
    exact = np.asarray(batch, np.float64)
    norm = BatchNorm(3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    actual = norm(batch, train=True)
    assert actual.dtype == jnp.bfloat16
    expected = numpy_layers.normalized(exact, norm)
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol=2**-8, atol=1e-4)
    assert {x.dtype for x in jax.tree.leaves(nnx.state(norm))} == {jnp.dtype(jnp.float32)}
    # Neither are the averages rounded when they are used.
    norm.mean[...] = jnp.asarray([8.01, 8.01, 8.01])
    actual = np.asarray(norm(jnp.full((1, 3), 8, jnp.bfloat16), train=False), np.float64)
    np.testing.assert_allclose(actual, -0.01 / np.sqrt(np.asarray(norm.var[...]))[None], rtol=0.01)


def test_batch_norm_statistics_keep_float64():
    with jax.enable_x64(True):
        norm = BatchNorm(3, dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        batch = random(64, 3)
        before = jax.tree.map(lambda x: x.dtype, nnx.state(norm))
        norm(jnp.asarray(batch), train=True)
        assert jax.tree.map(lambda x: x.dtype, nnx.state(norm)) == before
        np.testing.assert_allclose(norm.mean[...], 0.1 * batch.mean(0), atol=1e-16)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_pooling_and_dense_compute_in_at_least_float32(dtype):
    images = jnp.asarray(random(2, 32, 32, 4) + 100, dtype)
    pooled = global_average_pool(images)
    assert pooled.dtype == jnp.float32
    np.testing.assert_allclose(pooled, np.asarray(images, np.float64).mean((1, 2)), rtol=1e-6)
    dense = Dense(4, 3, dtype=dtype, rngs=nnx.Rngs(0))
    logits = dense(pooled)
    assert logits.dtype == jnp.float32
    expected = np.asarray(pooled, np.float64) @ np.asarray(dense.kernel[...]) + np.asarray(
        dense.bias[...]
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_running_averages_are_written_without_asking_where_they_come_from(monkeypatch):
    """In a traced network JAX's answer takes longer the deeper the network is."""
    asked = []
    monkeypatch.setattr(jax.core.Tracer, "sharding", property(asked.append))
    norm = BatchNorm(3, rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(norm)

    @jax.jit
    def update(state, images):
        norm = nnx.merge(graphdef, state, copy=True)
        norm(images, train=True)
        return nnx.state(norm)

    images = jnp.broadcast_to(jnp.asarray([1.0, 2.0, 3.0]), (2, 4, 4, 3))
    after = update(state, images)
    assert not asked
    np.testing.assert_allclose(after["mean"][...], [0.1, 0.2, 0.3], rtol=1e-6)


def test_a_part_of_a_running_average_can_be_written():
    norm = BatchNorm(3, rngs=nnx.Rngs(0))
    norm.mean[1] = 5.0
    np.testing.assert_array_equal(norm.mean[...], [0, 5, 0])
