import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdsam_jax.data.augmentation import augment


def _images(batch=6, height=8, width=8, channels=3, seed=0):
    return np.random.default_rng(seed).integers(1, 256, (batch, height, width, channels), np.uint8)


def _cropped(images, offsets, padding, fill):
    """What torchvision's RandomCrop does, one image after another."""
    height, width = images.shape[1:3]
    sides = ((padding, padding), (padding, padding), (0, 0))
    return np.stack(
        [
            np.pad(image, sides, constant_values=fill)[row : row + height, column : column + width]
            for image, (row, column) in zip(images, offsets, strict=True)
        ]
    )


@settings(max_examples=40)
@given(
    padding=st.integers(0, 4),
    height=st.sampled_from([5, 8]),
    width=st.sampled_from([5, 9]),
    channels=st.sampled_from([1, 3]),
    fill=st.sampled_from([0, 128]),
    seed=st.integers(0, 1000),
)
def test_crop_is_that_of_padded_images(padding, height, width, channels, fill, seed):
    images = _images(4, height, width, channels, seed)
    offsets = np.random.default_rng(seed).integers(0, 2 * padding + 1, (4, 2), np.int32)
    result = augment.crop(jnp.asarray(images), jnp.asarray(offsets), padding, fill)
    assert result.dtype == jnp.uint8
    np.testing.assert_array_equal(result, _cropped(images, offsets, padding, fill))


def test_every_offset_of_a_random_crop_is_equally_likely(key):
    """Images that hold their own coordinates show where they were cropped."""
    padding, batch = 2, 20_000
    row, column = np.mgrid[1:6, 1:6].astype(np.uint8)
    images = np.broadcast_to(np.stack([row, column], -1), (batch, 5, 5, 2))
    centres = np.asarray(augment.random_crop(key, jnp.asarray(images), padding))[:, 2, 2]
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(centres.astype(int).T - 1), 1)
    # Each of 25 places: binomial with mean 800 and deviation 27.7.
    assert counts.sum() == batch
    assert np.all(np.abs(counts - batch / 25) < 5 * 27.7)


def test_flip_mirrors_the_images_asked_for():
    images = _images()
    mirrored = np.array([True, False, False, True, True, False])
    expected = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    np.testing.assert_array_equal(
        augment.flip(jnp.asarray(images), jnp.asarray(mirrored)), expected
    )


def test_half_of_the_images_are_flipped(key):
    images = np.broadcast_to(np.array([0, 1], np.uint8).reshape(1, 1, 2, 1), (10_000, 1, 2, 1))
    flipped = np.asarray(augment.random_flip(key, jnp.asarray(images)))[:, 0, 0, 0]
    # Binomial(10000, 1/2) has deviation 50.
    assert abs(flipped.sum() - 5000) < 5 * 50
    # Neighbours are independent: pairs that agree have the same distribution.
    assert abs(np.sum(flipped[1:] == flipped[:-1]) - 5000) < 5 * 50


def _cut_out(images, centres, size):
    """The published Cutout, one image after another."""
    result = images.copy()
    for image, (row, column) in zip(result, centres, strict=True):
        rows = np.clip([row - size // 2, row - size // 2 + size], 0, image.shape[0])
        columns = np.clip([column - size // 2, column - size // 2 + size], 0, image.shape[1])
        image[slice(*rows), slice(*columns)] = 0
    return result


@settings(max_examples=40)
@given(
    size=st.integers(1, 9),
    height=st.sampled_from([5, 8]),
    width=st.sampled_from([5, 9]),
    dtype=st.sampled_from([np.uint8, np.float32]),
    seed=st.integers(0, 1000),
)
def test_cutout_clips_a_square_at_the_border(size, height, width, dtype, seed):
    images = _images(4, height, width, 3, seed).astype(dtype)
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, (height, width), (4, 2)).astype(np.int32)
    result = augment.cutout(jnp.asarray(images), jnp.asarray(centres), size)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, _cut_out(images, centres, size))


def test_every_centre_of_a_cutout_is_equally_likely(key):
    batch = 20_000
    cut = augment.random_cutout(key, jnp.ones((batch, 4, 5, 1), jnp.uint8), 1)[..., 0] == 0
    counts = np.asarray(cut.sum(0))
    # Each of 20 places: binomial with mean 1000 and deviation 30.8.
    assert counts.sum() == batch
    assert np.all(np.abs(counts - batch / 20) < 5 * 30.8)


@pytest.mark.parametrize(
    "function",
    [
        lambda k, x: augment.random_crop(k, x, 2),
        augment.random_flip,
        lambda k, x: augment.random_cutout(k, x, 4),
    ],
)
def test_pure_functions_of_their_key(function):
    images = jnp.asarray(_images(16))
    first, second = function(jax.random.key(1), images), function(jax.random.key(1), images)
    np.testing.assert_array_equal(first, second)
    assert np.any(first != function(jax.random.key(2), images))


MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 2**-8), (jnp.float16, 2**-11)]
)
def test_normalize(dtype, tolerance):
    images = _images()
    expected = (images.astype(np.float64) / 255 - MEAN) / STD
    result = augment.normalize(jnp.asarray(images), MEAN, STD, dtype)
    assert result.dtype == dtype
    np.testing.assert_allclose(
        np.asarray(result, np.float64), expected, rtol=tolerance, atol=tolerance
    )


def test_normalize_in_float64():
    images = _images()
    expected = (images.astype(np.float64) / 255 - MEAN) / STD
    with jax.enable_x64(True):
        result = augment.normalize(jnp.asarray(images), MEAN, STD, jnp.float64)
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result, expected, rtol=1e-13)
