"""Half as many pixels by a maximum, twice as many by interpolation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from skdsam_jax.models.operations.precision import at_least_float32
from skdsam_jax.models.operations.shifts import shifted


def max_pool(images: jax.Array, *, before: tuple[int, int] = (1, 1)) -> jax.Array:
    """The maximum over windows of 3x3 pixels, every second one, beyond the border nothing.

        y[b, r, c, f] = max_{i, j} x[b, 2 r + i - before[0], 2 c + j - before[1], f]

    On a CPU it is the maximum of nine shifted maps, whose gradient takes a sixth of the time of a
    window's and is shared by equal maxima.

    Args:
      images: [batch, height, width, features].
      before: pixels of the first window that lie beyond the border, 0 or 1 along each axis.

    Returns:
      [batch, ceil(height / 2), ceil(width / 2), features].
    """
    return lax.platform_dependent(
        images,
        cpu=functools.partial(_shifted_max_pool, before=before),
        default=functools.partial(_window_max_pool, before=before),
    )


def double(images: jax.Array) -> jax.Array:
    """Doubles height and width by bilinear interpolation between half-pixel centres.

        y[2 k] = 3/4 x[k] + 1/4 x[k - 1],   y[2 k + 1] = 3/4 x[k] + 1/4 x[k + 1]

    along each axis, the border repeated: what `jax.image.resize(..., "bilinear")` gives, without
    its two matrix products. On a TPU it is one convolution, and so is its gradient, in the place
    of many passes over memory.

    Args:
      images: [batch, height, width, features].

    Returns:
      [batch, 2 height, 2 width, features].
    """
    return _double(images)


def _shifted_max_pool(images: jax.Array, *, before: tuple[int, int]) -> jax.Array:
    maps = shifted(images, 2, border=-jnp.inf, before=before)
    return functools.reduce(jnp.maximum, maps).astype(images.dtype)


def _window_max_pool(images: jax.Array, *, before: tuple[int, int]) -> jax.Array:
    padding = tuple((first, 2 - first) for first in before)
    return nnx.max_pool(images, (3, 3), (2, 2), padding)


@jax.custom_vjp
def _double(images: jax.Array) -> jax.Array:
    return lax.platform_dependent(images, tpu=_dilated_double, default=_interleaved_double)


def _double_backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    return (
        lax.platform_dependent(
            gradient, tpu=_dilated_backward, default=_interleaved_double_transposed
        ),
    )


def _dilated_double(images: jax.Array) -> jax.Array:
    """A convolution with zeros between the pixels; beyond the border, 1/4 of a pixel is missing."""
    height, width, features = images.shape[1:]
    precise = at_least_float32(images.dtype)
    line = jnp.asarray([0.25, 0.75, 0.75, 0.25], images.dtype)
    kernel = jnp.broadcast_to(jnp.outer(line, line).reshape(4, 4, 1, 1), (4, 4, 1, features))
    sums = lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(1, 1),
        padding=((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=features,
    )
    rows, columns = (np.ones(2 * size) for size in (height, width))
    rows[[0, -1]] = columns[[0, -1]] = 4 / 3
    missing = jnp.asarray(np.outer(rows, columns).reshape(1, 2 * height, 2 * width, 1), precise)
    return (sums.astype(precise) * missing).astype(images.dtype)


def _dilated_backward(gradient: jax.Array) -> jax.Array:
    batch, height, width, features = gradient.shape
    images = jax.ShapeDtypeStruct((batch, height // 2, width // 2, features), gradient.dtype)
    return jax.linear_transpose(_dilated_double, images)(gradient)[0]


def _interleaved_double(images: jax.Array) -> jax.Array:
    return _double_axis(_double_axis(images, 1), 2)


def _double_axis(images: jax.Array, axis: int) -> jax.Array:
    size = images.shape[axis]
    first, last = (lax.slice_in_dim(images, i, i + 1, axis=axis) for i in (0, size - 1))
    before = jnp.concatenate([first, lax.slice_in_dim(images, 0, size - 1, axis=axis)], axis)
    after = jnp.concatenate([lax.slice_in_dim(images, 1, size, axis=axis), last], axis)
    pairs = jnp.stack([0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis + 1)
    return pairs.reshape(*images.shape[:axis], 2 * size, *images.shape[axis + 1 :])


def _interleaved_double_transposed(gradient: jax.Array) -> jax.Array:
    return _double_axis_transposed(_double_axis_transposed(gradient, 1), 2)


def _double_axis_transposed(gradient: jax.Array, axis: int) -> jax.Array:
    """x[k] = 1/4 g[2k - 1] + 3/4 g[2k] + 3/4 g[2k + 1] + 1/4 g[2k + 2], the border repeated."""
    border = [(0, 0)] * gradient.ndim
    border[axis] = (1, 1)
    padded = jnp.pad(gradient, border, mode="edge")
    size = gradient.shape[axis]
    near = [lax.slice_in_dim(padded, i, i + size - 1, 2, axis) for i in range(4)]
    return 0.75 * (near[1] + near[2]) + 0.25 * (near[0] + near[3])


_double.defvjp(lambda images: (_double(images), None), _double_backward)
