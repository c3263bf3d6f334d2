import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from flax import nnx

from skdsam_jax.models import (
    AttentionLink,
    BottleneckHead,
    Projection,
    SepConv,
    SepConvHead,
    initialize,
)


def float64(cls, *arguments, **options):
    """A module in float64 whose BatchNorms are not the identity."""
    settings = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    module = cls(*arguments, **options, **settings)
    numpy_layers.shake(module)
    return module


def sepconv(images, module):
    for depthwise, pointwise, stride in zip(
        module.depthwise, module.pointwise, (2, 1), strict=True
    ):
        images = numpy_layers.depthwise(images, depthwise.kernel[...], stride)
        images = numpy_layers.relu(numpy_layers.unit(images, pointwise))
    return images


def upsampled(images, size):
    """Bilinear interpolation between half-pixel centres, one output pixel at a time."""
    result = np.zeros((len(images), *size, images.shape[-1]))
    for index in np.ndindex(*size):
        total = 0.0
        centres = [
            np.clip((i + 0.5) * n / m - 0.5, 0, n - 1)
            for i, n, m in zip(index, images.shape[1:3], size, strict=True)
        ]
        corners = [(int(np.floor(c)), int(np.ceil(c)), c - np.floor(c)) for c in centres]
        (top, bottom, down), (left, right, across) = corners
        for row, row_weight in ((top, 1 - down), (bottom, down)):
            for column, weight in ((left, 1 - across), (right, across)):
                total = total + row_weight * weight * images[:, row, column]
        result[:, *index] = total
    return result


def upsampled_between_corner_pixels(images, size):
    """Bilinear interpolation; the centres of the corner pixels of both sizes coincide."""
    for axis, pixels in zip((1, 2), size, strict=True):
        positions = np.linspace(0, images.shape[axis] - 1, pixels)
        low = np.floor(positions).astype(int)
        high = np.minimum(low + 1, images.shape[axis] - 1)
        share = (positions - low).reshape(-1, *(1,) * (3 - axis))
        images = (1 - share) * images.take(low, axis) + share * images.take(high, axis)
    return images


def mask(images, link):
    features = images
    if link.preactivation is not None:
        features = numpy_layers.relu(numpy_layers.normalized(features, link.preactivation))
    features = numpy_layers.relu(
        numpy_layers.normalized(sepconv(features, link.sepconv), link.norm)
    )
    resize = upsampled_between_corner_pixels if link.align_corners else upsampled
    return 1 / (1 + np.exp(-resize(features, images.shape[1:3])))


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def call(module, inputs):
    """What `module` computes in training mode, compiled."""
    graphdef, state = nnx.split(module)
    compute = jax.jit(lambda state, x: nnx.merge(graphdef, state, copy=True)(x, train=True))
    return np.asarray(compute(state, jnp.asarray(inputs)))


@pytest.mark.parametrize(
    ("preactivation", "align_corners"), [(False, False), (True, False), (False, True)]
)
@pytest.mark.parametrize("size", [(8, 4), (7, 5), (1, 2)])
def test_attention_link(size, preactivation, align_corners):
    images = random(3, *size, 3)
    with jax.enable_x64(True):
        options = {"preactivation": preactivation, "align_corners": align_corners}
        link = float64(AttentionLink, 3, **options)
        actual = call(link, images)
        expected = mask(images, link)
    assert actual.shape == images.shape
    assert 0.5 <= actual.min() < actual.max() < 1
    np.testing.assert_allclose(actual, expected, atol=1e-10)


def test_sepconv():
    images = random(2, 5, 6, 3)
    with jax.enable_x64(True):
        module = float64(SepConv, 3, 4)
        actual, expected = call(module, images), sepconv(images, module)
    assert actual.shape == (2, 3, 3, 4)
    np.testing.assert_allclose(actual, expected, atol=1e-10)


@pytest.mark.parametrize("cap", [1, 4])
def test_capped_sepconv_head(cap):
    images = random(3, 6, 6, 3)
    with jax.enable_x64(True):
        head = float64(SepConvHead, (3, 5, 6), preactivation=True, width_cap=cap)
        actual = call(head, images)
        features = images * mask(images, head.link)
        features = numpy_layers.relu(numpy_layers.normalized(features, head.preactivation))
        for module in head.sepconvs:
            features = sepconv(features, module)
    units = [head.link.sepconv, *head.sepconvs]
    assert [[conv.conv.kernel.shape[2:] for conv in unit.pointwise] for unit in units] == [
        [(3, min(3, cap)), (min(3, cap), 3)],
        [(3, min(3, cap)), (min(3, cap), cap)],
        [(cap, cap), (cap, 6)],
    ]
    np.testing.assert_allclose(actual, features.mean((1, 2)), atol=1e-10)


@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize("link", [False, True])
def test_sepconv_head(link, preactivation):
    images = random(3, 8, 8, 2)
    with jax.enable_x64(True):
        head = float64(SepConvHead, (2, 3, 5), preactivation=preactivation, link=link)
        actual = call(head, images)
        features = images * mask(images, head.link) if link else images
        if preactivation:
            features = numpy_layers.relu(numpy_layers.normalized(features, head.preactivation))
        for module in head.sepconvs:
            features = sepconv(features, module)
    assert (head.link is not None) == link
    assert actual.shape == (3, 5)
    np.testing.assert_allclose(actual, features.mean((1, 2)), atol=1e-10)


@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize(("size", "reduction"), [((8, 8), 4), ((5, 7), 2)])
def test_bottleneck_head(size, reduction, preactivation):
    images = random(3, *size, 2)
    with jax.enable_x64(True):
        head = float64(BottleneckHead, 2, 4, 6, reduction, preactivation=preactivation)
        actual = call(head, images)
        features = images
        if preactivation:
            features = numpy_layers.relu(numpy_layers.normalized(features, head.preactivation))
        for module, stride in zip(head.units, (1, reduction, 1), strict=True):
            features = numpy_layers.relu(numpy_layers.unit(features, module, stride))
    assert actual.shape == (3, 6)
    np.testing.assert_allclose(actual, features.mean((1, 2)), atol=1e-10)


@pytest.mark.parametrize(
    "build",
    [
        functools.partial(SepConvHead, (2, 3, 5), preactivation=True),
        functools.partial(BottleneckHead, 2, 4, 5, 4, preactivation=True),
    ],
)
def test_a_head_pools_its_map(build):
    @jax.jit
    def both(images):
        head = initialize(lambda rngs: build(rngs=rngs), 0)
        return head(images, train=False), head.feature_map(images, train=False)

    features, feature_map = both(jnp.asarray(random(2, 8, 8, 2), jnp.float32))
    assert feature_map.shape == (2, 2, 2, 5)
    np.testing.assert_allclose(features, feature_map.mean((1, 2)), rtol=1e-6, atol=1e-7)


def test_bottleneck_head_needs_a_kernel_of_pixels():
    head = BottleneckHead(2, 4, 6, 8, preactivation=False, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="images: takes 8 pixels a side or more, not 9x7"):
        head(jnp.ones((1, 9, 7, 2)), train=True)


def test_projection():
    features = random(6, 4)
    with jax.enable_x64(True):
        module = float64(Projection, 4)
        actual = call(module, features)

        def affine(inputs, dense):
            return inputs @ np.asarray(dense.kernel[...]) + np.asarray(dense.bias[...])

        hidden = numpy_layers.normalized(affine(features, module.inner), module.norm)
        expected = affine(numpy_layers.relu(hidden), module.outer)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_bfloat16_projection_computes_in_float32():
    module = Projection(4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    precise = Projection(4, rngs=nnx.Rngs(0))
    features = jnp.asarray(random(6, 4), jnp.float32)
    np.testing.assert_array_equal(call(module, features), call(precise, features))
