"""Corruptions of images at five severities.

Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions and
perturbations, ICLR 2019 (arXiv:1903.12261), with the severities of the published CIFAR-10-C and
ImageNet-C. Of those motion blur and snow need ImageMagick, frost needs photographs of frost, and
glass blur, elastic transformation and spatter need OpenCV or minutes; they are left out.
"""

import io
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

SEVERITIES = (1, 2, 3, 4, 5)

# Images of at most this side take the severities of CIFAR-10-C.
SMALL_SIDE = 64

Pixels = np.ndarray


class Corruption(NamedTuple):
    """A corruption and how strong it is.

    Attributes:
      apply: pixels [height, width, 3] in [0, 1], one of the strengths, a source of randomness ->
        pixels, which may lie outside.
      small: a strength for each severity of small images.
      large: a strength for each severity of large images.
    """

    apply: Callable[[Pixels, Any, np.random.Generator], Pixels]
    small: Sequence[Any]
    large: Sequence[Any]


def corrupt(image: np.ndarray, name: str, severity: int, *, seed: int) -> np.ndarray:
    """Corrupts an image: a pure function of its arguments.

    Args:
      image: uint8 [side, side, 3].
      name: one of `CORRUPTIONS`.
      severity: 1 to 5.
      seed: such as the image's number; another one draws other noise.

    Returns:
      uint8 [side, side, 3].

    Raises:
      ValueError: no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"name: takes one of {', '.join(CORRUPTIONS)}, not {name!r}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity: takes 1 to 5, not {severity!r}")
    corruption = CORRUPTIONS[name]
    strengths = corruption.small if max(image.shape[:2]) <= SMALL_SIDE else corruption.large
    generator = np.random.default_rng([seed, severity, zlib.crc32(name.encode())])
    changed = corruption.apply(image / 255.0, strengths[severity - 1], generator)
    return (255 * changed.clip(0, 1)).round().astype(np.uint8)


def _gaussian_noise(pixels: Pixels, deviation: float, generator: np.random.Generator) -> Pixels:
    return pixels + generator.normal(0, deviation, pixels.shape)


def _shot_noise(pixels: Pixels, photons: float, generator: np.random.Generator) -> Pixels:
    return generator.poisson(photons * pixels) / photons


def _impulse_noise(pixels: Pixels, share: float, generator: np.random.Generator) -> Pixels:
    """That share of all values becomes black or white."""
    drawn = generator.uniform(size=pixels.shape)
    return np.where(drawn < share, drawn < share / 2, pixels)


def _speckle_noise(pixels: Pixels, deviation: float, generator: np.random.Generator) -> Pixels:
    return pixels * (1 + generator.normal(0, deviation, pixels.shape))


def _gaussian_blur(pixels: Pixels, deviation: float, _: np.random.Generator) -> Pixels:
    return ndimage.gaussian_filter(pixels, (deviation, deviation, 0), mode="nearest")


def _defocus_blur(pixels: Pixels, disc: tuple[float, float], _: np.random.Generator) -> Pixels:
    """The mean over a disc of some radius whose edge is smoothed by a Gaussian."""
    radius, deviation = disc
    # The Gaussian is cut off after one pixel, of large discs after two.
    reach, cut = (8, 1) if radius <= 8 else (int(radius), 2)
    across = np.arange(-reach, reach + 1)
    kernel = (across[:, None] ** 2 + across**2 <= radius**2).astype(float)
    weights = np.exp(-(np.arange(-cut, cut + 1) ** 2) / (2 * deviation**2))
    weights /= weights.sum()
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel / kernel.sum(), weights, axis, mode="mirror")
    return ndimage.correlate(pixels, kernel[:, :, None], mode="mirror")


def _zoom_blur(pixels: Pixels, factors: Sequence[float], _: np.random.Generator) -> Pixels:
    """The mean of the image and of enlargements of its centre."""
    return np.mean([pixels, *(_zoomed(pixels, factor) for factor in factors)], axis=0)


def _zoomed(pixels: Pixels, factor: float) -> Pixels:
    side = len(pixels)
    part = int(np.ceil(side / factor))
    first = (side - part) // 2
    centre = pixels[first : first + part, first : first + part]
    enlarged = ndimage.zoom(centre, (factor, factor, 1), order=1)
    first = (len(enlarged) - side) // 2
    return enlarged[first : first + side, first : first + side]


def _fog(pixels: Pixels, fog: tuple[float, float], generator: np.random.Generator) -> Pixels:
    """Adds fog of some thickness that is rough at every scale, and darkens as much."""
    thickness, decay = fog
    size = 2 ** int(np.ceil(np.log2(max(pixels.shape[:2]))))
    height, width = pixels.shape[:2]
    added = thickness * _plasma(size, decay, generator)[:height, :width, None]
    brightest = pixels.max()
    return (pixels + added) * (brightest / (brightest + thickness))


def _plasma(size: int, decay: float, generator: np.random.Generator) -> np.ndarray:
    """A periodic fractal surface [size, size] in [0, 1], by the diamond-square algorithm.

    Every midpoint is the mean of its four neighbours, moved at random by up to decay^(-2 level).
    """
    surface = np.zeros((size, size))
    step, height = size, 1.0

    def moved(total: np.ndarray, height: float) -> np.ndarray:
        return total / 4 + generator.uniform(-height, height, total.shape)

    while step >= 2:
        half = step // 2
        corners = surface[::step, ::step]
        below = np.roll(corners, -1, 0)
        squares = corners + below + np.roll(corners + below, -1, 1)
        centres = moved(squares, height)
        surface[half::step, half::step] = centres
        horizontal = corners + np.roll(corners, -1, 1) + centres + np.roll(centres, 1, 0)
        vertical = corners + below + centres + np.roll(centres, 1, 1)
        surface[::step, half::step] = moved(horizontal, height)
        surface[half::step, ::step] = moved(vertical, height)
        step, height = half, height / decay**2
    surface -= surface.min()
    return surface / surface.max()


def _brightness(pixels: Pixels, added: float, _: np.random.Generator) -> Pixels:
    """Adds to the value of HSV; hue and saturation stay."""
    value = pixels.max(axis=-1, keepdims=True)
    brighter = np.minimum(value + added, 1)
    return np.where(value > 0, pixels * brighter / np.where(value > 0, value, 1), brighter)


def _saturate(pixels: Pixels, line: tuple[float, float], _: np.random.Generator) -> Pixels:
    """Saturation s of HSV becomes a s + b; hue and value stay.

    Grey pixels have the hue 0 in HSV, and so become red where b is not 0, as they do in the
    published sets.
    """
    slope, offset = line
    value = pixels.max(axis=-1, keepdims=True)
    chroma = value - pixels.min(axis=-1, keepdims=True)
    saturation = chroma / np.where(value > 0, value, 1)
    target = np.clip(slope * saturation + offset, 0, 1)
    direction = np.where(
        chroma > 0, (value - pixels) / np.where(chroma > 0, chroma, 1), [0.0, 1.0, 1.0]
    )
    return value * (1 - target * direction)


def _contrast(pixels: Pixels, share: float, _: np.random.Generator) -> Pixels:
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    return mean + share * (pixels - mean)


def _pixelate(pixels: Pixels, share: float, _: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    small = _picture(pixels).resize((int(width * share), int(height * share)), _BOX)
    return np.asarray(small.resize((width, height), _BOX)) / 255.0


def _jpeg_compression(pixels: Pixels, quality: int, _: np.random.Generator) -> Pixels:
    encoded = io.BytesIO()
    _picture(pixels).save(encoded, "jpeg", quality=quality)
    return np.asarray(Image.open(encoded)) / 255.0


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray((255 * pixels).round().astype(np.uint8))


def _factors(*steps: tuple[float, float]) -> list[np.ndarray]:
    """From 1 up to each end, in steps."""
    return [np.arange(1, end, step) for end, step in steps]


_BOX = Image.Resampling.BOX

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(
        _gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)
    ),
    "shot_noise": Corruption(_shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": Corruption(
        _impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)
    ),
    "speckle_noise": Corruption(
        _speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2), (0.15, 0.2, 0.35, 0.45, 0.6)
    ),
    "defocus_blur": Corruption(
        _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "gaussian_blur": Corruption(_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1), (1, 2, 3, 4, 6)),
    "zoom_blur": Corruption(
        _zoom_blur,
        _factors((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        _factors((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "fog": Corruption(
        _fog,
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": Corruption(_brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Corruption(_contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturate": Corruption(
        _saturate,
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    ),
    "pixelate": Corruption(_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": Corruption(_jpeg_compression, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}
