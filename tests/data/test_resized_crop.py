"""Random-resized-crop against Pillow, and against torchvision's loop of attempts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from skdsam_jax.data.augmentation.resized_crop import (
    random_rectangles,
    random_resized_crop,
    resized_crop,
)


def _images(batch, height, width):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (batch, height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("source", "size"), [((64, 64), (32, 32)), ((32, 32), (32, 32)), ((20, 33), (17, 40))]
)
def test_resized_crop_is_pillows(source, size):
    images, generator = _images(64, *source), np.random.default_rng(1)
    sides = generator.integers(1, (source[0] + 1, source[1] + 1), (64, 2))
    corners = generator.integers(0, np.array(source) - sides + 1)
    rectangles = np.concatenate([corners, sides], axis=1).astype(np.int32)
    rectangles[0] = 0, 0, *source
    ours = resized_crop(jnp.asarray(images), jnp.asarray(rectangles), size)
    differences = []
    assert ours.dtype == jnp.uint8
    for image, result, (top, left, height, width) in zip(images, ours, rectangles, strict=True):
        cropped = Image.fromarray(image).crop((left, top, left + width, top + height))
        expected = cropped.resize(size[::-1], Image.Resampling.BILINEAR)
        # Which of its two passes Pillow makes first depends on its version and the sizes; both
        # round to levels in between.
        difference = np.asarray(result).astype(int) - np.asarray(expected)
        assert np.abs(difference).max() <= 1
        differences.append(difference.mean())
    assert abs(np.mean(differences)) < 0.01


def test_a_whole_image_at_its_own_size_stays_as_it_is():
    images = _images(3, 12, 12)
    whole = jnp.broadcast_to(jnp.array([0, 0, 12, 12], jnp.int32), (3, 4))
    np.testing.assert_array_equal(resized_crop(jnp.asarray(images), whole, (12, 12)), images)


def _one_rectangle(generator, height, width):
    """What torchvision's documentation says, for one image."""
    for _ in range(10):
        area = generator.uniform(0.08, 1) * height * width
        ratio = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return generator.integers(height - h + 1), generator.integers(width - w + 1), h, w
    w, h = min(width, round(height * 4 / 3)), min(height, round(width / (3 / 4)))
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 24), (24, 8)])
def test_rectangles_have_torchvisions_distribution(key, height, width):
    """Chi-square of two samples over height and width, and over the place in bins."""
    total, generator = 8000, np.random.default_rng(0)
    ours = np.asarray(random_rectangles(key, total, height, width))
    theirs = np.array([_one_rectangle(generator, height, width) for _ in range(total)])
    tops, lefts, heights, widths = ours.T
    assert np.all((tops >= 0) & (tops + heights <= height) & (heights > 0))
    assert np.all((lefts >= 0) & (lefts + widths <= width) & (widths > 0))
    for columns in ((2, 3), (0, 2), (1, 3)):
        tables = []
        for sample in (ours, theirs):
            cells = [sample[:, column] * 8 // (max(height, width) + 1) for column in columns]
            tables.append(np.bincount(cells[0] * 8 + cells[1], minlength=64))
        first, second = tables
        both = first + second
        statistic = np.sum((first - second)[both > 0] ** 2 / both[both > 0])
        freedom = np.sum(both > 0) - 1
        # A chi-square variable has mean `freedom` and deviation sqrt(2 freedom).
        assert statistic - freedom < 5 * np.sqrt(2 * freedom)


def test_where_no_attempt_fits_the_crop_is_centred(key):
    """8 % of this area are more than two rows of the permitted ratios."""
    rectangles = np.asarray(random_rectangles(key, 100, 2, 96))
    assert np.all(rectangles == [0, 46, 2, 3])


def test_a_pure_function_of_its_key():
    images = jnp.asarray(_images(8, 16, 16))
    first, again = (random_resized_crop(jax.random.key(1), images, (8, 8)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (8, 8, 8, 3)
    assert np.any(first != random_resized_crop(jax.random.key(2), images, (8, 8)))
