"""Winograd's minimal filtering: 3x3 convolutions with a quarter of the multiplications.

Four values of a convolution with three weights take 6 multiplications in the place of 12:

    y = A^T [(G w) * (B^T x)],   x: 6 values, w: 3 weights, y: 4 values,

and nested in both directions, 4x4 pixels take 36 in the place of 144. A, B and G follow from the
points at which the polynomials w and y are evaluated (Toom and Cook). Winograd, Arithmetic
complexity of computations, 1980; Lavin and Gray, https://arxiv.org/abs/1509.09308.

The points 0, 1, -1, 2, -1/2 and infinity halve the rounding of Lavin and Gray's 0, 1, -1, 2, -2
(Barabasz et al., https://arxiv.org/abs/1803.10986).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from skdsam_jax.models.operations.precision import at_least_float32

_POINTS = (0, 1, -1, 2, -0.5)
_TILE = 6
_STEP = _TILE - 2


@jax.custom_vjp
def winograd_convolution(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with 3x3 kernels at stride 1, padding one pixel of zeros.

        y[b, r, c, o] = sum_{i, j, f} kernel[i, j, f, o] x[b, r + i - 1, c + j - 1, f]

    Each 4x4 pixels of y are A^T [sum_f (G kernel G^T) * (B^T x B)] A of 6x6 pixels of x. All tiles'
    36 pixels are stacked, so that each transform is one product with a Kronecker square, and the
    sum over features 36 products of matrices. Computed in at least float32; the largest error there
    is a few times that of an ordinary convolution.

    Args:
      images: [batch, height, width, features].
      kernel: [3, 3, features, out_features].

    Returns:
      [batch, height, width, out_features], the dtype of `images`.
    """
    precise = at_least_float32(images.dtype)
    transforms = _transforms()
    pixels = _apply(transforms.images, _tiles(images.astype(precise), overlap=2))
    weights = _apply(transforms.kernel, kernel.astype(precise).reshape(9, *kernel.shape[2:]))
    products = lax.dot_general(pixels, weights, (((4,), (1,)), ((0,), (0,))))
    height, width = images.shape[1:3]
    return _untiled(_apply(transforms.result, products))[:, :height, :width].astype(images.dtype)


def winograd_gradients(
    images: jax.Array, kernel: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The gradients of `winograd_convolution` with respect to its arguments.

    That of the images is the convolution of `gradient` with the turned kernel. That of the kernel
    is the transposed algorithm, G^T [sum over tiles of (B^T x B) * (A gradient A^T)] G.

    Args:
      images: [batch, height, width, features].
      kernel: [3, 3, features, out_features].
      gradient: [batch, height, width, out_features], of the result.

    Returns:
      Both gradients, of the arguments' shapes and dtypes.
    """
    to_images = winograd_convolution(gradient, kernel[::-1, ::-1].swapaxes(2, 3))
    precise = at_least_float32(images.dtype)
    transforms = _transforms()
    pixels = _apply(transforms.images, _tiles(images.astype(precise), overlap=2))
    errors = _apply(transforms.result.T, _tiles(gradient.astype(precise), overlap=0))
    products = lax.dot_general(pixels, errors, (((1, 2, 3), (1, 2, 3)), ((0,), (0,))))
    to_kernel = _apply(transforms.kernel.T, products).reshape(kernel.shape)
    return to_images.astype(images.dtype), to_kernel.astype(kernel.dtype)


winograd_convolution.defvjp(
    lambda images, kernel: (winograd_convolution(images, kernel), (images, kernel)),
    lambda saved, gradient: winograd_gradients(*saved, gradient),
)


class _Transforms(NamedTuple):
    """Kronecker squares, of float64: both directions of a tile at once.

    Attributes:
      images: of B^T, [36, 36].
      kernel: of G, [36, 9].
      result: of A^T, [16, 36].
    """

    images: np.ndarray
    kernel: np.ndarray
    result: np.ndarray


@functools.cache
def _transforms() -> _Transforms:
    """Row i of G, and column i of A^T, evaluate a polynomial at point i; the last is infinity.

    Row i of B^T are the coefficients of the polynomial that is zero at all other points. The rows
    of G are divided by what that is at point i.
    """
    points = np.array(_POINTS)
    images, kernel, result = (np.zeros((_TILE, size)) for size in (_TILE, 3, _STEP))
    for row, point in enumerate(points):
        others = np.delete(points, row)
        images[row, :-1] = np.poly(others)[::-1]
        kernel[row] = point ** np.arange(3) / np.prod(point - others)
        result[row] = point ** np.arange(_STEP)
    images[-1] = np.poly(points)[::-1]
    kernel[-1, -1] = result[-1, -1] = 1
    return _Transforms(*(np.kron(matrix, matrix) for matrix in (images, kernel, result.T)))


def _apply(transform: np.ndarray, stacked: jax.Array) -> jax.Array:
    """One product of matrices over the first axis, in the type of `stacked`."""
    return jnp.tensordot(jnp.asarray(transform, stacked.dtype), stacked, 1)


def _tiles(images: jax.Array, *, overlap: int) -> jax.Array:
    """Tiles of 4 + overlap pixels a side, 4 pixels apart, zero beyond the border.

    Args:
      images: [batch, height, width, features].
      overlap: pixels that neighbouring tiles share; the first begins half of them outside.

    Returns:
      [(4 + overlap)^2, batch, ceil(height / 4), ceil(width / 4), features].
    """
    counts = [-(-size // _STEP) for size in images.shape[1:3]]
    before = overlap // 2
    after = [
        _STEP * count + overlap - before - size
        for count, size in zip(counts, images.shape[1:3], strict=True)
    ]
    padded = jnp.pad(images, ((0, 0), (before, after[0]), (before, after[1]), (0, 0)))
    rows, columns = (_STEP * (count - 1) + 1 for count in counts)
    return jnp.stack(
        [
            padded[:, row : row + rows : _STEP, column : column + columns : _STEP]
            for row in range(_STEP + overlap)
            for column in range(_STEP + overlap)
        ]
    )


def _untiled(tiles: jax.Array) -> jax.Array:
    """Puts tiles [16, batch, rows, columns, features] side by side."""
    _, batch, rows, columns, features = tiles.shape
    tiles = tiles.reshape(_STEP, _STEP, batch, rows, columns, features)
    return tiles.transpose(2, 3, 0, 4, 1, 5).reshape(batch, _STEP * rows, _STEP * columns, features)
