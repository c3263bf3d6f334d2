"""Augmentation of whole batches on the device, as pure functions of a key.

Every function takes a batch [batch, height, width, channels] and treats its images independently
of each other. Indices are gathered for the whole batch: per-image slices under `vmap` would become
loops.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def random_crop(key: jax.Array, images: jax.Array, padding: int, fill: int = 0) -> jax.Array:
    """Pads with a grey level and crops back to size at random places.

    Args:
      key: decides the places; row and column are uniform on 0..2 padding, independently.
      images: [batch, height, width, channels].
      padding: in pixels on each of the four sides.
      fill: the level of padded pixels.

    Returns:
      Images of the same shape and dtype.
    """
    offsets = jax.random.randint(key, (len(images), 2), 0, 2 * padding + 1, jnp.int32)
    return crop(images, offsets, padding, fill)


def crop(images: jax.Array, offsets: jax.Array, padding: int, fill: int = 0) -> jax.Array:
    """Pads with a grey level and crops back to size at given places.

    Args:
      images: [batch, height, width, channels].
      offsets: int [batch, 2], row and column of the crop's corner in the padded image.
      padding: in pixels on each of the four sides.
      fill: the level of padded pixels.

    Returns:
      Images of the same shape and dtype.
    """
    height, width = images.shape[1:3]
    corner = (offsets - padding).reshape(-1, 2, 1, 1, 1)
    rows = corner[:, 0] + jnp.arange(height, dtype=jnp.int32).reshape(1, -1, 1, 1)
    columns = corner[:, 1] + jnp.arange(width, dtype=jnp.int32).reshape(1, 1, -1, 1)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    # Along an axis, so that each device crops its part of a sharded batch: a gather that also
    # indexes the batch makes XLA collect the whole batch on every device.
    cropped = jnp.take_along_axis(images, rows.clip(0, height - 1), axis=1)
    cropped = jnp.take_along_axis(cropped, columns.clip(0, width - 1), axis=2)
    return jnp.where(inside, cropped, jnp.asarray(fill, images.dtype))


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirrors each image left to right with probability 1/2.

    Args:
      key: decides which images.
      images: [batch, height, width, channels].

    Returns:
      Images of the same shape and dtype.
    """
    # Of a Python float, x64 would make a float64 and draw other numbers.
    half = jnp.float32(0.5)
    return flip(images, jax.random.bernoulli(key, half, (len(images),)))


def flip(images: jax.Array, mirrored: jax.Array) -> jax.Array:
    """Mirrors given images left to right.

    Args:
      images: [batch, height, width, channels].
      mirrored: bool [batch], which of them.

    Returns:
      Images of the same shape and dtype.
    """
    return jnp.where(mirrored.reshape(-1, 1, 1, 1), images[:, :, ::-1], images)


def random_cutout(key: jax.Array, images: jax.Array, size: int) -> jax.Array:
    """Sets one square of each image to zero: Cutout (DeVries and Taylor, arXiv:1708.04552).

    Before normalisation zero is black, after it the mean.

    Args:
      key: decides the squares' centres, uniform over all pixels.
      images: [batch, height, width, channels].
      size: side of the square in pixels; what reaches over the border is clipped.

    Returns:
      Images of the same shape and dtype.
    """
    rows_key, columns_key = jax.random.split(key)
    batch, height, width, _ = images.shape
    rows = jax.random.randint(rows_key, (batch,), 0, height, jnp.int32)
    columns = jax.random.randint(columns_key, (batch,), 0, width, jnp.int32)
    return cutout(images, jnp.stack([rows, columns], axis=1), size)


def cutout(images: jax.Array, centres: jax.Array, size: int) -> jax.Array:
    """Sets one square of each image to zero at given places.

    Args:
      images: [batch, height, width, channels].
      centres: int [batch, 2], row and column; of an even square, the lower right of the four
        pixels around its centre.
      size: side of the square in pixels.

    Returns:
      Images of the same shape and dtype.
    """
    height, width = images.shape[1:3]
    corner = (centres - size // 2).reshape(-1, 2, 1, 1, 1)
    rows = jnp.arange(height, dtype=jnp.int32).reshape(1, -1, 1, 1) - corner[:, 0]
    columns = jnp.arange(width, dtype=jnp.int32).reshape(1, 1, -1, 1) - corner[:, 1]
    inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    return jnp.where(inside, jnp.zeros_like(images), images)


def normalize(
    images: jax.Array, mean: Sequence[float], std: Sequence[float], dtype: jax.typing.DTypeLike
) -> jax.Array:
    """Turns pixels into numbers of mean 0 and deviation 1: (pixels / 255 - mean) / std.

    Args:
      images: uint8 [batch, height, width, channels].
      mean: per channel, of pixels scaled to [0, 1].
      std: per channel, of pixels scaled to [0, 1].
      dtype: floating type of the result; computed in float32 or wider.

    Returns:
      [batch, height, width, channels] of `dtype`.
    """
    computed = np.promote_types(dtype, np.float32)
    mean, std = (jnp.asarray(values, computed).reshape(1, 1, 1, -1) for values in (mean, std))
    return ((images.astype(computed) / 255 - mean) / std).astype(dtype)
