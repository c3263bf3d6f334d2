"""Corruptions: the same each time, worse with each severity, and what they say they are."""

import colorsys

import numpy as np
import pytest

from skdsam_jax.evaluation.corruptions import CORRUPTIONS, SEVERITIES, SMALL_SIDE, corrupt

# Of these a severity is not stronger than the last for every image: first paler, then more
# colourful; another fog; other tiles, which may fit the edges better.
NOT_MONOTONE = {"saturate", "fog", "pixelate"}


def _photograph(side):
    """Smooth colours, edges, black, white and grey."""
    across = np.linspace(0, 1, side)
    pixels = np.stack(np.broadcast_arrays(across, across[:, None], 0.5), -1).copy()
    pixels[: side // 4, : side // 4] = 0
    pixels[-side // 4 :, -side // 4 :] = 1
    pixels[side // 3 : side // 2, side // 3 : side // 2] = [0.9, 0.2, 0.1]
    pixels[-side // 4 :, : side // 8] = 0.4
    return (255 * pixels).round().astype(np.uint8)


SMALL, LARGE = _photograph(32), _photograph(96)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("image", [SMALL, LARGE], ids=["small", "large"])
def test_each_severity_is_worse(name, image):
    before = image.copy()
    made = [corrupt(image, name, severity, seed=3) for severity in SEVERITIES]
    for severity, changed in zip(SEVERITIES, made, strict=True):
        assert changed.dtype == np.uint8
        assert changed.shape == image.shape
        np.testing.assert_array_equal(changed, corrupt(image, name, severity, seed=3))
    np.testing.assert_array_equal(image, before)
    distances = [np.abs(changed.astype(int) - image).mean() for changed in made]
    assert distances[-1] > 0
    if name not in NOT_MONOTONE:
        assert distances == sorted(distances)


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "fog"]
)
def test_images_get_noise_of_their_own(name):
    first, second = (corrupt(SMALL, name, 5, seed=seed) for seed in (0, 1))
    assert (first != second).mean() > 0.05


def test_severities_depend_on_the_size():
    edge = _photograph(SMALL_SIDE), _photograph(SMALL_SIDE + 1)
    noises = [
        (corrupt(image, "gaussian_noise", 1, seed=0).astype(int) - image)[20:30, 30:40].std()
        for image in edge
    ]
    assert noises[1] > 1.5 * noises[0]


@pytest.mark.parametrize(
    ("name", "deviation"),
    [("gaussian_noise", 0.1), ("shot_noise", np.sqrt(0.5 / 50)), ("speckle_noise", 0.2 * 0.5)],
)
def test_noise_is_as_strong_as_published(name, deviation):
    grey = np.full((64, 64, 3), 128, np.uint8)
    noise = corrupt(grey, name, 5, seed=0) / 255 - 128 / 255
    assert noise.std() == pytest.approx(deviation, rel=0.05)
    assert abs(noise.mean()) < 0.01


def test_impulses_are_black_and_white():
    grey = np.full((64, 64, 3), 128, np.uint8)
    made = corrupt(grey, "impulse_noise", 5, seed=0)
    shares = [(made == level).mean() for level in (0, 128, 255)]
    assert shares == pytest.approx([0.035, 0.93, 0.035], abs=0.01)


@pytest.mark.parametrize("name", ["defocus_blur", "gaussian_blur", "zoom_blur", "contrast"])
def test_even_surfaces_stay(name):
    grey = np.full((32, 32, 3), 77, np.uint8)
    np.testing.assert_array_equal(corrupt(grey, name, 5, seed=0), grey)


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", ["brightness", "saturate"])
def test_colours_against_hsv(name, severity):
    strength = CORRUPTIONS[name].small[severity - 1]
    expected = np.empty(SMALL.shape)
    for place in np.ndindex(SMALL.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*SMALL[place] / 255)
        if name == "brightness":
            value = min(value + strength, 1)
        else:
            saturation = min(max(saturation * strength[0] + strength[1], 0), 1)
        expected[place] = colorsys.hsv_to_rgb(hue, saturation, value)
    made = corrupt(SMALL, name, severity, seed=0)
    np.testing.assert_allclose(made / 255, expected, atol=0.51 / 255)


def test_unknown_ones_are_refused():
    with pytest.raises(ValueError, match=r"name: takes one of gaussian_noise, .*, not 'rain'"):
        corrupt(SMALL, "rain", 1, seed=0)
    with pytest.raises(ValueError, match="severity: takes 1 to 5, not 6"):
        corrupt(SMALL, "fog", 6, seed=0)
