"""Array operations whose usual forms are slow on a CPU, forward or backward.

What is computed depends on the platform that a program is lowered for, not on the machine that
traces it: both forms are traced, and lowering keeps one, so that no compiler sees a conditional.

`depthwise_convolution` and `double` define their own gradient, so they can be differentiated in
reverse mode only.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

# Wider blocks multiply more zeros, narrower ones are more convolutions to compile.
_BLOCK_FEATURES = 64


def at_least_float32(dtype: DTypeLike) -> jnp.dtype:
    """The floating-point type `dtype`, or float32 where that is wider."""
    return jnp.dtype(dtype if jnp.finfo(dtype).bits > 32 else jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_convolution(images: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves every feature with a 3x3 kernel of its own, padding one pixel of zeros.

        y[b, r, c, f] = sum_{i, j} kernel[i, j, 0, f] x[b, stride r + i - 1, stride c + j - 1, f]

    On a CPU it is nine shifted products, which are 20 to 50 times faster there than the grouped
    convolution that other platforms get.

    Args:
      images: [batch, height, width, features].
      kernel: [3, 3, 1, features].
      stride: input pixels from one output pixel to the next.

    Returns:
      [batch, ceil(height / stride), ceil(width / stride), features], the dtype of `images`.
    """
    return _depthwise_forward(images, kernel, stride)[0]


def double(images: jax.Array) -> jax.Array:
    """Doubles height and width by bilinear interpolation between half-pixel centres.

        y[2 k] = 3/4 x[k] + 1/4 x[k - 1],   y[2 k + 1] = 3/4 x[k] + 1/4 x[k + 1]

    along each axis, the border repeated: what `jax.image.resize(..., "bilinear")` gives, without
    its two matrix products.

    Args:
      images: [batch, height, width, features].

    Returns:
      [batch, 2 height, 2 width, features].
    """
    return _double(images)


def convolution(
    images: jax.Array,
    kernel: jax.Array,
    window_strides: tuple[int, ...],
    padding: Any,
    *,
    feature_group_count: int,
    **settings: Any,
) -> jax.Array:
    """`lax.conv_general_dilated` of NHWC images with an HWIO kernel, in any number of groups.

    On a CPU, where the gradient of a grouped convolution takes 10 to 100 times as long,
    neighbouring groups share an ordinary convolution of up to 64 features whose kernel is zero
    between groups; and the pixels that a 1x1 kernel skips are left out before, so that its
    gradients do not multiply zeros.

    Args:
      images: [batch, height, width, features].
      kernel: [kernel_size, kernel_size, features / feature_group_count, out_features].
      window_strides: pixels from one output pixel to the next, along height and width.
      padding: pixels before and after height and width.
      feature_group_count: the number of groups.
      **settings: the other arguments of `lax.conv_general_dilated`.

    Returns:
      [batch, height, width, out_features].
    """
    convolve = functools.partial(
        _convolution_on_cpu,
        window_strides=window_strides,
        padding=padding,
        groups=feature_group_count,
        **settings,
    )
    strided_pointwise = _is_pointwise(kernel, padding) and max(window_strides) > 1
    if feature_group_count == 1 and not strided_pointwise:
        # The same everywhere, so there is nothing to trace twice.
        return convolve(images, kernel)
    return lax.platform_dependent(
        images,
        kernel,
        cpu=convolve,
        default=functools.partial(
            lax.conv_general_dilated,
            window_strides=window_strides,
            padding=padding,
            feature_group_count=feature_group_count,
            **settings,
        ),
    )


def _convolution_on_cpu(
    images: jax.Array,
    kernel: jax.Array,
    *,
    window_strides: tuple[int, ...],
    padding: Any,
    groups: int,
    **settings: Any,
) -> jax.Array:
    if _is_pointwise(kernel, padding):
        rows, columns = window_strides
        images, window_strides = images[:, ::rows, ::columns], (1, 1)
    convolve = functools.partial(
        lax.conv_general_dilated, window_strides=window_strides, padding=padding, **settings
    )
    if groups == 1:
        return convolve(images, kernel, feature_group_count=1)
    depth = kernel.shape[2]
    shared = max(
        n
        for n in range(1, groups + 1)
        if groups % n == 0 and (n == 1 or n * depth <= _BLOCK_FEATURES)
    )
    parts = zip(
        *(jnp.split(array, groups // shared, -1) for array in (images, kernel)), strict=True
    )
    return jnp.concatenate([convolve(x, _block_diagonal(k, shared)) for x, k in parts], -1)


def _is_pointwise(kernel: jax.Array, padding: Any) -> bool:
    """Whether the kernel is 1x1 and nothing is padded."""
    return kernel.shape[:2] == (1, 1) and not np.any(padding)


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


def relu(features: jax.Array) -> jax.Array:
    """max(x, 0) of every element; its gradient is 0 where x <= 0.

    Written as a choice between 0 and x. Of a maximum XLA makes a copy for each transposition that
    the gradient of a convolution needs, together with all the arithmetic before it, and reads
    every array of that arithmetic across the grain: a third of a ResNet's training step on a CPU.
    """
    return jnp.where(features <= 0, jnp.zeros_like(features), features)


def _block_diagonal(kernel: jax.Array, groups: int) -> jax.Array:
    """The ungrouped kernel that does what `kernel` does in `groups` groups."""
    if groups == 1:
        return kernel
    height, width, depth, out_features = kernel.shape
    kernel = kernel.reshape(height, width, 1, depth, groups, out_features // groups)
    diagonal = jnp.eye(groups, dtype=kernel.dtype).reshape(1, 1, groups, 1, groups, 1)
    return (kernel * diagonal).reshape(height, width, groups * depth, out_features)


def _shifted_max_pool(images: jax.Array, *, before: tuple[int, int]) -> jax.Array:
    shifted = _shifted(images, 2, border=-jnp.inf, before=before)
    return functools.reduce(jnp.maximum, shifted).astype(images.dtype)


def _window_max_pool(images: jax.Array, *, before: tuple[int, int]) -> jax.Array:
    padding = tuple((first, 2 - first) for first in before)
    return nnx.max_pool(images, (3, 3), (2, 2), padding)


def _grouped_depthwise(images: jax.Array, kernel: jax.Array, *, stride: int) -> jax.Array:
    """A convolution with as many groups as there are features."""
    return lax.conv_general_dilated(
        images,
        kernel.astype(images.dtype),
        window_strides=(stride, stride),
        padding=((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=images.shape[-1],
    )


def _sum_of_products(images: jax.Array, kernel: jax.Array, *, stride: int) -> jax.Array:
    """Nine shifted products, added in at least float32."""
    shifted = _shifted(images, stride)
    weights = kernel.reshape(9, 1, 1, 1, -1).astype(shifted[0].dtype)
    return sum(x * weight for x, weight in zip(shifted, weights, strict=True)).astype(images.dtype)


def _shifted(
    images: jax.Array, stride: int, border: float = 0, before: tuple[int, int] = (1, 1)
) -> list[jax.Array]:
    """The map under each of the nine kernel entries, in at least float32."""
    height, width = images.shape[1:3]
    above, left = before
    pixels = ((0, 0), (above, 2 - above), (left, 2 - left), (0, 0))
    padded = jnp.pad(images, pixels, constant_values=border)
    padded = padded.astype(at_least_float32(images.dtype))
    return [
        padded[:, row : row + height : stride, column : column + width : stride]
        for row in range(3)
        for column in range(3)
    ]


def _shifted_backward(
    images: jax.Array, kernel: jax.Array, gradient: jax.Array, *, stride: int
) -> tuple[jax.Array, jax.Array]:
    (to_images,) = jax.linear_transpose(
        lambda x: _sum_of_products(x, kernel, stride=stride), images
    )(gradient)
    # JAX's own gradient is nine separate sums, each reading both maps again: 24 ms at 128x16x16x64.
    # One reduction of nine operands reads them once, 4 ms. It adds one by one, which is accurate
    # for a row of pixels and not for all of them, so the rest is left to an ordinary sum.
    products = [x * gradient for x in _shifted(images, stride)]
    zeros = [jnp.zeros((), products[0].dtype)] * 9
    rows = lax.reduce(products, zeros, lambda a, b: jax.tree.map(jnp.add, a, b), (2,))
    to_kernel = jnp.stack([row.sum((0, 1)) for row in rows]).reshape(kernel.shape)
    return to_images, to_kernel.astype(kernel.dtype)


def _grouped_backward(
    images: jax.Array, kernel: jax.Array, gradient: jax.Array, *, stride: int
) -> tuple[jax.Array, jax.Array]:
    convolve = functools.partial(_grouped_depthwise, stride=stride)
    _, pull_back = jax.vjp(convolve, images, kernel)
    return pull_back(gradient)


def _depthwise_forward(
    images: jax.Array, kernel: jax.Array, stride: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    result = lax.platform_dependent(
        images,
        kernel,
        cpu=functools.partial(_sum_of_products, stride=stride),
        default=functools.partial(_grouped_depthwise, stride=stride),
    )
    return result, (images, kernel)


def _depthwise_backward(
    stride: int, saved: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    # Differentiating the choice itself would give the same; to trace that takes twice as long.
    return lax.platform_dependent(
        *saved,
        gradient,
        cpu=functools.partial(_shifted_backward, stride=stride),
        default=functools.partial(_grouped_backward, stride=stride),
    )


depthwise_convolution.defvjp(_depthwise_forward, _depthwise_backward)


@jax.custom_vjp
def _double(images: jax.Array) -> jax.Array:
    return _double_axis(_double_axis(images, 1), 2)


def _double_axis(images: jax.Array, axis: int) -> jax.Array:
    size = images.shape[axis]
    first, last = (lax.slice_in_dim(images, i, i + 1, axis=axis) for i in (0, size - 1))
    before = jnp.concatenate([first, lax.slice_in_dim(images, 0, size - 1, axis=axis)], axis)
    after = jnp.concatenate([lax.slice_in_dim(images, 1, size, axis=axis), last], axis)
    pairs = jnp.stack([0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis + 1)
    return pairs.reshape(*images.shape[:axis], 2 * size, *images.shape[axis + 1 :])


def _double_backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    return (_double_axis_transposed(_double_axis_transposed(gradient, 1), 2),)


def _double_axis_transposed(gradient: jax.Array, axis: int) -> jax.Array:
    """x[k] = 1/4 g[2k - 1] + 3/4 g[2k] + 3/4 g[2k + 1] + 1/4 g[2k + 2], the border repeated."""
    border = [(0, 0)] * gradient.ndim
    border[axis] = (1, 1)
    padded = jnp.pad(gradient, border, mode="edge")
    size = gradient.shape[axis]
    near = [lax.slice_in_dim(padded, i, i + size - 1, 2, axis) for i in range(4)]
    return 0.75 * (near[1] + near[2]) + 0.25 * (near[0] + near[3])


_double.defvjp(lambda images: (_double(images), None), _double_backward)
