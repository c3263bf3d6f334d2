"""Pillow's image operations for whole batches, in integer arithmetic.

Images are uint8 [batch, height, width, channels]; what varies from image to image is an array
over the batch. Whole numbers alone are computed, so that every platform and compiler gives the
same pixels. Where Pillow computes in floating point and falls short of a whole number that the
exact result reaches, it differs by one level; the tests count how often.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

# Pillow counts the source pixel of a nearest-neighbour affine map in units of 2^-16.
_FRACTION_BITS = 16


def fixed_point(matrix: tuple[float, ...]) -> np.ndarray:
    """Turns the six numbers of an affine map into what `affine` takes.

    Args:
      matrix: (a, b, c, d, e, f) as in `PIL.Image.Image.transform`: the pixel at (x, y) of the
        result comes from (a x + b y + c, d x + e y + f) of the source, in coordinates whose whole
        numbers are the edges of pixels.

    Returns:
      int32 [6], in units of 2^-16, with the half pixel to a pixel's centre added to c and f.
    """
    a, b, c, d, e, f = matrix
    centred = (a, b, c + a / 2 + b / 2, d, e, f + d / 2 + e / 2)
    return np.array([math.floor(v * 2**_FRACTION_BITS + 0.5) for v in centred], np.int32)


def affine(images: jax.Array, matrices: jax.Array, fill: int) -> jax.Array:
    """Moves pixels by one affine map per image, each to its nearest neighbour.

    Args:
      images: as in this module; at most 16,384 pixels high and wide.
      matrices: int32 [batch, 6], of `fixed_point`.
      fill: level of pixels that come from outside the image.

    Returns:
      Images of the same shape.
    """
    batch, height, width, channels = images.shape
    rows, columns = jnp.meshgrid(
        jnp.arange(height, dtype=jnp.int32), jnp.arange(width, dtype=jnp.int32), indexing="ij"
    )
    a, b, c, d, e, f = (matrices[:, i].reshape(-1, 1, 1) for i in range(6))
    x = (a * columns[None] + b * rows[None] + c) >> _FRACTION_BITS
    y = (d * columns[None] + e * rows[None] + f) >> _FRACTION_BITS
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    source = y.clip(0, height - 1) * width + x.clip(0, width - 1)
    pixels = images.reshape(batch, height * width, channels)
    moved = jnp.take_along_axis(pixels, source.reshape(batch, -1, 1), axis=1)
    return jnp.where(inside[..., None], moved.reshape(images.shape), jnp.uint8(fill))


def look_up(images: jax.Array, tables: jax.Array) -> jax.Array:
    """Replaces every level by an entry of its image's and channel's table.

    Args:
      images: as in this module.
      tables: uint8 [batch, channels, 256].

    Returns:
      Images of the same shape.
    """
    batch, *_, channels = images.shape
    levels = images.reshape(batch, -1, channels).astype(jnp.int32)
    # Along an axis, as in `augment.crop`: each device keeps to its own images.
    replaced = jnp.take_along_axis(tables.swapaxes(1, 2), levels, axis=1)
    return replaced.reshape(images.shape)


def histograms(images: jax.Array) -> jax.Array:
    """Counts the levels: int32 [batch, channels, 256]."""
    batch, *_, channels = images.shape
    zeros = jnp.zeros((channels, 256), jnp.int32)
    channel = jnp.arange(channels, dtype=jnp.int32)[None]

    def count(levels: jax.Array) -> jax.Array:
        return zeros.at[channel, levels].add(1)

    # Under vmap, because indices of the batch would make XLA collect it on every device.
    return jax.vmap(count)(images.reshape(batch, -1, channels).astype(jnp.int32))


def autocontrast_tables(counts: jax.Array) -> jax.Array:
    """Stretches each channel's levels lo..hi to 0..255, as `ImageOps.autocontrast` does.

    Args:
      counts: of `histograms`.

    Returns:
      uint8 [batch, channels, 256]: floor(255 (level - lo) / (hi - lo)), or the level itself where
      the channel has a single one.
    """
    levels = jnp.arange(256, dtype=jnp.int32).reshape(1, 1, -1)
    present = counts > 0
    low = jnp.min(jnp.where(present, levels, 255), axis=-1, keepdims=True)
    high = jnp.max(jnp.where(present, levels, 0), axis=-1, keepdims=True)
    span = high - low
    stretched = jax.lax.div(
        255 * (levels - low).clip(0, 255), jnp.broadcast_to(span.clip(1), counts.shape)
    )
    return jnp.where(span > 0, stretched.clip(0, 255), levels).astype(jnp.uint8)


def equalize_tables(counts: jax.Array) -> jax.Array:
    """Spreads each channel's levels evenly, as `ImageOps.equalize` does.

    With n_l pixels of level l and step = floor(pixels other than those of the highest level
    / 255), level i becomes floor((floor(step / 2) + sum_(l < i) n_l) / step), at most 255.

    Args:
      counts: of `histograms`.

    Returns:
      uint8 [batch, channels, 256]; the level itself where step is 0.
    """
    levels = jnp.arange(256, dtype=jnp.int32).reshape(1, 1, -1)
    high = jnp.max(jnp.where(counts > 0, levels, 0), axis=-1, keepdims=True)
    below = jnp.cumsum(counts, axis=-1, dtype=jnp.int32) - counts
    others = jnp.sum(jnp.where(levels == high, 0, counts), axis=-1, keepdims=True, dtype=jnp.int32)
    step = others // 255
    spread = jax.lax.div(below + step // 2, jnp.broadcast_to(step.clip(1), counts.shape))
    return jnp.where(step > 0, spread.clip(0, 255), levels).astype(jnp.uint8)


def grey(images: jax.Array) -> jax.Array:
    """The luma of RGB images as `Image.convert("L")` computes it, int32 [.., 1]."""
    weights = jnp.array([19595, 38470, 7471], jnp.int32).reshape(1, 1, 1, 3)
    total = jnp.sum(weights * images.astype(jnp.int32), axis=-1, keepdims=True, dtype=jnp.int32)
    return (total + 0x8000) >> 16


def mean_grey(luma: jax.Array) -> jax.Array:
    """The mean of each image's `grey`, rounded half up: int32 [batch, 1, 1, 1]."""
    pixels = luma.shape[1] * luma.shape[2]
    total = jnp.sum(luma, axis=(1, 2, 3), keepdims=True, dtype=jnp.int32)
    return (2 * total + pixels) // (2 * pixels)


def smooth(images: jax.Array) -> jax.Array:
    """`ImageFilter.SMOOTH` as int32: 3x3, the centre counts 5 of 13; the border stays."""
    height, width = images.shape[1:3]
    levels = images.astype(jnp.int32)
    if height < 3 or width < 3:
        return levels
    rows = levels[:, :-2] + levels[:, 1:-1] + levels[:, 2:]
    around = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inner = levels[:, 1:-1, 1:-1]
    smoothed = (2 * (around + 4 * inner) + 13) // 26
    return levels.at[:, 1:-1, 1:-1].set(smoothed)


def blend(base: jax.Array, images: jax.Array, tenths: jax.Array) -> jax.Array:
    """`Image.blend`: base + tenths / 10 (images - base), clipped to 0..255 and rounded down.

    Args:
      base: int32 that broadcasts against `images`, 0..255.
      images: as in this module.
      tenths: int32 [batch], the factor of each image; 0 gives the base, 10 the image, and more
        goes beyond it.

    Returns:
      uint8 images.
    """
    factor = tenths.reshape(-1, 1, 1, 1)
    mixed = base * (10 - factor) + images.astype(jnp.int32) * factor
    return jax.lax.div(mixed.clip(0, 2550), jnp.int32(10)).astype(jnp.uint8)
