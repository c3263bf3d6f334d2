import numpy as np
import pytest

from skdsam_jax.data.resize import resize


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [4, 8, 13, 32])
def test_flat_images_stay_flat(channels, size):
    images = np.full((2, 8, 8, channels), [[[[10]]], [[[200]]]], np.uint8)
    resized = resize(images, size)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(
        resized, np.full((2, size, size, channels), [[[[10]]], [[[200]]]])
    )


def test_enlarging_interpolates_at_half_pixel_centres():
    image = np.array([[0, 100], [0, 100]], np.uint8).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(resize(image, 4)[0, :, :, 0], [[0, 25, 75, 100]] * 4)


def test_shrinking_averages_rather_than_skips():
    stripes = np.tile(np.array([0, 200], np.uint8), (1, 32, 16)).reshape(1, 32, 32, 1)
    assert np.all(np.abs(resize(stripes, 8)[:, 1:-1, 1:-1].astype(int) - 100) <= 2)


def test_channels_and_examples_do_not_mix():
    images = np.random.default_rng(0).integers(0, 256, (3, 10, 10, 3), np.uint8)
    resized = resize(images, 7)
    for example in range(3):
        for channel in range(3):
            alone = images[example : example + 1, :, :, channel : channel + 1]
            np.testing.assert_array_equal(
                resized[example, :, :, channel], resize(alone, 7)[0, :, :, 0]
            )


def test_nothing_to_do_is_nothing_done():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    assert resize(images, 8) is images
