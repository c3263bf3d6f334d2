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
from collections.abc import Sequence
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
    36 pixels are stacked, so that the sum over features is 36 products of matrices. Computed in at
    least float32; the largest error there is a few times that of an ordinary convolution.

    Args:
      images: [batch, height, width, features].
      kernel: [3, 3, features, out_features].

    Returns:
      [batch, height, width, out_features], the dtype of `images`.
    """
    precise = at_least_float32(images.dtype)
    matrices = _matrices()
    pixels = _of_tiles(matrices.images, images.astype(precise))
    weights = _of_kernel(matrices.kernel, kernel.astype(precise).reshape(9, *kernel.shape[2:]))
    products = lax.dot_general(pixels, weights, (((4,), (1,)), ((0,), (0,))))
    height, width = images.shape[1:3]
    result = _side_by_side(matrices.result, products)
    return result[:, :height, :width].astype(images.dtype)


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
    matrices = _matrices()
    pixels = _of_tiles(matrices.images, images.astype(precise))
    errors = _of_tiles(matrices.result.T, gradient.astype(precise))
    products = lax.dot_general(pixels, errors, (((1, 2, 3), (1, 2, 3)), ((0,), (0,))))
    to_kernel = _of_kernel(matrices.kernel.T, products).reshape(kernel.shape)
    return to_images.astype(images.dtype), to_kernel.astype(kernel.dtype)


winograd_convolution.defvjp(
    lambda images, kernel: (winograd_convolution(images, kernel), (images, kernel)),
    lambda saved, gradient: winograd_gradients(*saved, gradient),
)


class _Matrices(NamedTuple):
    """The transforms along one direction of a tile, of float64.

    Attributes:
      images: B^T, [6, 6].
      kernel: G, [6, 3].
      result: A^T, [4, 6].
    """

    images: np.ndarray
    kernel: np.ndarray
    result: np.ndarray


@functools.cache
def _matrices() -> _Matrices:
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
    return _Matrices(images, kernel, result.T)


def _of_tiles(matrix: np.ndarray, images: jax.Array) -> jax.Array:
    """M t M^T of every tile t of `images`, 4 pixels apart, zero beyond the border.

    Tiles of more than 4 pixels a side overlap; the first begins half of that outside. One direction
    comes after the other, as sums of slices: a quarter of the transforms' weights are zero, and few
    slices compile fast.

    Args:
      matrix: M, [6, pixels of a tile's side].
      images: [batch, height, width, features].

    Returns:
      [36, batch, ceil(height / 4), ceil(width / 4), features].
    """
    size = matrix.shape[1]
    before = (size - _STEP) // 2
    sides = images.shape[1:3]
    ends = [_STEP * (-(-side // _STEP) - 1) + 1 for side in sides]
    after = [end + size - 1 - before - side for end, side in zip(ends, sides, strict=True)]
    padded = jnp.pad(images, ((0, 0), (before, after[0]), (before, after[1]), (0, 0)))
    # Or XLA would compute what leads to `images` anew for each of the sums.
    padded = lax.optimization_barrier(padded)
    rows = [padded[:, row : row + ends[0] : _STEP] for row in range(size)]
    half = _sums(matrix, rows, axis=0)
    columns = [half[:, :, :, column : column + ends[1] : _STEP] for column in range(size)]
    tiles = _sums(matrix, columns, axis=1)
    return tiles.reshape(_TILE * _TILE, *tiles.shape[2:])


def _side_by_side(matrix: np.ndarray, products: jax.Array) -> jax.Array:
    """M p M^T of products p, beside each other.

    Args:
      matrix: M, [4, 6].
      products: [36, batch, rows, columns, features].

    Returns:
      [batch, 4 rows, 4 columns, features].
    """
    _, batch, rows, columns, features = products.shape
    products = products.reshape(_TILE, _TILE, *products.shape[1:])
    half = _sums(matrix, list(products), axis=0)
    tiles = _sums(matrix, [half[:, column] for column in range(_TILE)], axis=1)
    pixels = tiles.transpose(2, 3, 0, 4, 1, 5)
    return pixels.reshape(batch, _STEP * rows, _STEP * columns, features)


def _of_kernel(matrix: np.ndarray, kernel: jax.Array) -> jax.Array:
    """M k M^T of kernels k, [size * size, in, out], as [n * n, in, out] where M is [n, size].

    One product of matrices for both directions, with M's Kronecker square.
    """
    return jnp.tensordot(jnp.asarray(np.kron(matrix, matrix), kernel.dtype), kernel, 1)


def _sums(matrix: np.ndarray, arrays: Sequence[jax.Array], axis: int) -> jax.Array:
    """Stacks, for each row of `matrix`, the sum of `arrays` that it weighs, zeros left out."""
    sums = []
    for row in matrix:
        terms = [
            array if weight == 1 else jnp.asarray(weight, array.dtype) * array
            for weight, array in zip(row, arrays, strict=True)
            if weight
        ]
        sums.append(functools.reduce(jnp.add, terms))
    return jnp.stack(sums, axis)
