import numpy as np
import pytest
from sklearn import datasets

from skdsam_jax.data import DataOptions
from skdsam_jax.data.sources.digits import load_digits


def test_the_split_is_fixed_and_stratified():
    first, second = load_digits(DataOptions()), load_digits(DataOptions())
    assert (len(first.train), len(first.test)) == (1442, 355)
    assert first.image_shape == (16, 16, 3)
    assert first.class_names == tuple("0123456789")
    np.testing.assert_array_equal(first.train.images, second.train.images)
    np.testing.assert_array_equal(first.test.labels, second.test.labels)
    counts = np.bincount(first.train.labels), np.bincount(first.test.labels)
    shares = counts[1] / (counts[0] + counts[1])
    assert np.all(np.abs(shares - 0.2) < 0.005)


def test_training_and_test_images_are_the_whole_set():
    dataset = load_digits(DataOptions(image_size=8))
    grey = datasets.load_digits()
    pixels = np.concatenate([dataset.train.images, dataset.test.images])
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    levels = np.rint(pixels[..., 0] / 255 * 16).reshape(-1, 64)
    found = sorted((*row, label) for row, label in zip(levels.tolist(), labels, strict=True))
    expected = sorted(
        (*row, label) for row, label in zip(grey.data.tolist(), grey.target, strict=True)
    )
    assert found == expected


def test_grey_is_repeated_over_three_channels_and_uses_the_whole_range():
    images = load_digits(DataOptions()).train.images
    np.testing.assert_array_equal(images[..., 0], images[..., 1])
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    assert images.min() == 0
    assert images.max() == 255


@pytest.mark.parametrize("size", [8, 12, 16, 32])
def test_any_size_and_its_statistics(size):
    dataset = load_digits(DataOptions(image_size=size))
    assert dataset.image_shape == (size, size, 3)
    pixels = dataset.train.images.astype(np.float64) / 255
    np.testing.assert_allclose(dataset.mean, pixels.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(dataset.std, pixels.std((0, 1, 2)), rtol=1e-6)


def test_enlarging_keeps_the_digit():
    small, large = (
        load_digits(DataOptions(image_size=8)).train.images,
        load_digits(DataOptions(image_size=16)).train.images,
    )
    averaged = large.reshape(-1, 8, 2, 8, 2, 3).mean((2, 4))
    assert np.corrcoef(small.ravel(), averaged.ravel())[0, 1] > 0.97
