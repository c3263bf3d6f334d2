"""Random-resized-crop of whole batches on the device."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

# torchvision's defaults: shares of the area, width / height, and how often it tries.
_SCALE = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10

# Products with a level and their sums stay below 2^24, where float32 is exact.
_UNIT = 2**14


def random_resized_crop(key: jax.Array, images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Crops a random rectangle out of each image and resizes it, bilinear and antialiased.

    Args:
      key: decides the rectangles, see `random_rectangles`.
      images: uint8 [batch, height, width, channels].
      size: height and width of the result.

    Returns:
      uint8 [batch, *size, channels].
    """
    return resized_crop(images, random_rectangles(key, *images.shape[:3]), size)


def random_rectangles(key: jax.Array, batch: int, height: int, width: int) -> jax.Array:
    """Draws rectangles as torchvision's `RandomResizedCrop` does.

    Of ten attempts the first that fits counts: an area uniform on 8 % to 100 % of the image's, a
    logarithm of width / height uniform between those of 3/4 and 4/3, sides rounded to pixels. The
    place is uniform. Where none fits: the largest centred rectangle of a permitted ratio.

    Args:
      key: decides the rectangles.
      batch: how many.
      height: of the images.
      width: of the images.

    Returns:
      int32 [batch, 4]: top, left, height and width of each.
    """
    area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
    shape = (batch, _ATTEMPTS)
    low, high = (np.float32(share * height * width) for share in _SCALE)
    areas = jax.random.uniform(area_key, shape, jnp.float32, low, high)
    low, high = (np.float32(math.log(ratio)) for ratio in _RATIO)
    ratios = jnp.exp(jax.random.uniform(ratio_key, shape, jnp.float32, low, high))
    widths = jnp.round(jnp.sqrt(areas * ratios)).astype(jnp.int32)
    heights = jnp.round(jnp.sqrt(areas / ratios)).astype(jnp.int32)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = jnp.argmax(fits, axis=1, keepdims=True)
    heights, widths = (jnp.take_along_axis(sides, first, axis=1) for sides in (heights, widths))

    none = ~jnp.any(fits, axis=1, keepdims=True)
    whole_height = min(height, round(width / _RATIO[0]))
    whole_width = min(width, round(height * _RATIO[1]))
    heights = jnp.where(none, whole_height, heights)
    widths = jnp.where(none, whole_width, widths)
    tops = jax.random.randint(top_key, (batch, 1), 0, height - heights + 1, jnp.int32)
    lefts = jax.random.randint(left_key, (batch, 1), 0, width - widths + 1, jnp.int32)
    tops = jnp.where(none, (height - whole_height) // 2, tops)
    lefts = jnp.where(none, (width - whole_width) // 2, lefts)
    return jnp.concatenate([tops, lefts, heights, widths], axis=1)


def resized_crop(images: jax.Array, rectangles: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Crops given rectangles and resizes them, bilinear and antialiased.

    A triangle of half-width max(1, source pixels per pixel of the result) weighs the pixels of
    the rectangle, and of it alone, as Pillow's `resize` does after a crop. The weights are
    multiples of 2^-14 (Pillow's of 2^-22), so that all sums are exact: every platform gives the
    same levels.

    Args:
      images: uint8 [batch, height, width, channels].
      rectangles: int32 [batch, 4]: top, left, height and width of each.
      size: height and width of the result.

    Returns:
      uint8 [batch, *size, channels], within one level of Pillow's.
    """
    tops, lefts, heights, widths = rectangles.T
    vertical = _weights(tops, heights, images.shape[1], size[0])
    horizontal = _weights(lefts, widths, images.shape[2], size[1])
    # The default precision of a GPU or TPU would not hold a weight.
    einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    resized = _round(einsum("bpx,byxc->bypc", horizontal, images.astype(jnp.float32)))
    resized = _round(einsum("bqy,bypc->bqpc", vertical, resized))
    return resized.astype(jnp.uint8)


def _weights(starts: jax.Array, lengths: jax.Array, source: int, target: int) -> jax.Array:
    """float32 [batch, target, source]: whole numbers of which `_UNIT` make a whole pixel."""
    starts, lengths = (values.astype(jnp.float32).reshape(-1, 1, 1) for values in (starts, lengths))
    scale = lengths / np.float32(target)
    support = jnp.maximum(scale, np.float32(1))
    pixels = jnp.arange(source, dtype=jnp.float32).reshape(1, 1, -1) + np.float32(0.5) - starts
    centres = (jnp.arange(target, dtype=jnp.float32).reshape(1, -1, 1) + np.float32(0.5)) * scale
    weights = jnp.maximum(0, 1 - jnp.abs(pixels - centres) / support)
    weights = jnp.where((pixels > 0) & (pixels < lengths), weights, 0)
    return jnp.round(weights / jnp.sum(weights, axis=-1, keepdims=True) * np.float32(_UNIT))


def _round(weighed: jax.Array) -> jax.Array:
    """Whole levels, halves upwards."""
    return jnp.floor((weighed + np.float32(_UNIT / 2)) / np.float32(_UNIT)).clip(0, 255)
