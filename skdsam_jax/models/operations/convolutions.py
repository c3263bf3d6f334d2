"""Convolution in any number of groups, with strides that skip pixels, and in fewer products."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from skdsam_jax.models.operations.winograd import winograd_convolution, winograd_gradients

# Wider blocks multiply more zeros, narrower ones are more convolutions to compile.
_BLOCK_FEATURES = 64

# Below this Winograd's transforms cost about what they save.
WINOGRAD_FEATURES = 64


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


def fast_convolution(
    images: jax.Array,
    kernel: jax.Array,
    window_strides: tuple[int, ...],
    padding: Any,
    *,
    feature_group_count: int,
    **settings: Any,
) -> jax.Array:
    """`convolution`, by `winograd_convolution` on a CPU where that is faster.

    It is for 3x3 kernels of stride 1 padded by one pixel, between 64 features or more, on maps
    that tiles of 4x4 pixels cover without much waste. In float32 both forms differ by some 1e-6 of
    the largest value.

    Args and result are those of `convolution`.
    """
    if feature_group_count == 1 and _winograd_pays(
        images, kernel, window_strides, padding, settings
    ):
        return _winograd_on_cpu(images, kernel)
    return convolution(
        images,
        kernel,
        window_strides,
        padding,
        feature_group_count=feature_group_count,
        **settings,
    )


def _winograd_pays(
    images: jax.Array,
    kernel: jax.Array,
    window_strides: tuple[int, ...],
    padding: Any,
    settings: Mapping[str, Any],
) -> bool:
    dilations = (settings.get(name) or (1, 1) for name in ("lhs_dilation", "rhs_dilation"))
    plain = tuple(window_strides) == (1, 1) and all(tuple(d) == (1, 1) for d in dilations)
    if not plain or kernel.shape[:2] != (3, 3) or np.any(np.asarray(padding) != 1):
        return False
    height, width = images.shape[1:3]
    # 36 products a tile, in the place of 9 a pixel: at most half of them.
    tiles = -(-height // 4) * -(-width // 4)
    return min(kernel.shape[2:]) >= WINOGRAD_FEATURES and 8 * tiles <= height * width


@jax.custom_vjp
def _winograd_on_cpu(images: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.platform_dependent(images, kernel, cpu=winograd_convolution, default=_plain)


def _plain(images: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(
        images,
        kernel,
        (1, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _plain_gradients(
    images: jax.Array, kernel: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return jax.vjp(_plain, images, kernel)[1](gradient)


_winograd_on_cpu.defvjp(
    lambda images, kernel: (_winograd_on_cpu(images, kernel), (images, kernel)),
    lambda saved, gradient: lax.platform_dependent(
        *saved, gradient, cpu=winograd_gradients, default=_plain_gradients
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


def _block_diagonal(kernel: jax.Array, groups: int) -> jax.Array:
    """The ungrouped kernel that does what `kernel` does in `groups` groups."""
    if groups == 1:
        return kernel
    height, width, depth, out_features = kernel.shape
    kernel = kernel.reshape(height, width, 1, depth, groups, out_features // groups)
    diagonal = jnp.eye(groups, dtype=kernel.dtype).reshape(1, 1, groups, 1, groups, 1)
    return (kernel * diagonal).reshape(height, width, groups * depth, out_features)
