"""Convolution, batch normalisation and dense layers as every network here uses them.

Thin subclasses of Flax's layers that fix padding, initialisation and precision.

Every module takes the keywords of `Settings`, which says what is computed in which precision.
"""

from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from skdsam_jax.models.initialization import convolution_kernel, dense_uniform, shared
from skdsam_jax.models.operations import (
    at_least_float32,
    convolution,
    depthwise_convolution,
    fast_convolution,
)
from skdsam_jax.models.settings import Settings
from skdsam_jax.options import find

# What computes the layers `Conv`, by `config.model.convolution`.
CONVOLUTIONS: dict[str, Callable[..., jax.Array]] = {
    "direct": convolution,
    "winograd": fast_convolution,
}

# Of runs that ask for none.
DEFAULT_CONVOLUTION = "winograd"


def global_average_pool(images: jax.Array) -> jax.Array:
    """The mean over height and width, [batch, features], in at least float32."""
    return images.mean((1, 2), dtype=at_least_float32(images.dtype))


class Conv(nnx.Conv):
    """A square convolution without bias, padded alike on all sides.

    "SAME" would pad a strided convolution on the right and bottom only. Weights start as
    `initialization.convolution_kernel` says, unless another `kernel_init` is given.

    Attributes:
      kernel: [kernel_size, kernel_size, in_features / groups, out_features].
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        kernel_init: nnx.Initializer = convolution_kernel,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Creates the layer; `padding` is kernel_size // 2 pixels if not given."""
        padding = kernel_size // 2 if padding is None else padding
        super().__init__(
            in_features,
            out_features,
            (kernel_size, kernel_size),
            strides=stride,
            padding=((padding, padding), (padding, padding)),
            feature_group_count=groups,
            use_bias=False,
            kernel_init=kernel_init,
            conv_general_dilated=convolution,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=shared(rngs),
        )


def use_convolution(network: nnx.Module, form: str) -> None:
    """Has all layers `Conv` of a network computed in one form; fresh ones are "direct".

    Args:
      network: changed in place.
      form: a name of `CONVOLUTIONS`. "winograd" is `operations.fast_convolution`: on a CPU, 3x3
        convolutions that become faster by it are computed by Winograd's minimal filtering. Results
        differ by rounding.
    """
    function = find(CONVOLUTIONS, form, "form", kind="form of convolution")
    for _, module in nnx.iter_modules(network):
        if isinstance(module, Conv):
            module.conv_general_dilated = function


class DepthwiseConv(nnx.Module):
    """A 3x3 convolution of each feature by itself, padded by one, without bias.

    Attributes:
      kernel: [3, 3, 1, features]; its weights start as those of `Conv` do.
    """

    def __init__(
        self,
        features: int,
        *,
        stride: int = 1,
        kernel_init: nnx.Initializer = convolution_kernel,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.kernel = nnx.Param(
            kernel_init(shared(rngs).params(), (3, 3, 1, features), param_dtype)
        )
        self.stride = stride
        self.dtype = dtype

    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps [batch, height, width, features] to the same, height and width / stride."""
        return depthwise_convolution(images.astype(self.dtype), self.kernel[...], self.stride)


class RunningAverage(nnx.BatchStat):
    """A running average of `BatchNorm`, whose whole value is replaced at once."""

    def __setitem__(self, key: Any, value: jax.Array) -> None:
        # Flax would ask a traced value for its sharding. It has none, and the error in which JAX
        # says where the value came from, which nobody reads, is half of the time to trace a
        # network of a hundred layers.
        if key is Ellipsis:
            self.set_value(value)
        else:
            super().__setitem__(key, value)


class BatchNorm(nnx.BatchNorm):
    """Batch normalisation over all axes but the last, computed in at least float32.

        y = scale (x - mean) / sqrt(variance + 1e-5) + bias

    The running averages, 0.9 old + 0.1 new of mean and biased variance, are used where `train` is
    false. Under `jax.jit` with a sharded batch the statistics are those of the whole batch.
    Ioffe and Szegedy, https://arxiv.org/abs/1502.03167.

    Attributes:
      scale, bias: [features], in `param_dtype`.
      mean, var: [features], running averages, in at least float32.
    """

    def __init__(
        self,
        features: int,
        *,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        precise = at_least_float32(dtype)
        super().__init__(
            features,
            momentum=0.9,
            epsilon=1e-5,
            dtype=precise,
            param_dtype=param_dtype,
            rngs=shared(rngs),
        )
        # Flax always keeps them in float32, which would round those of a float64 network.
        self.mean = RunningAverage(jnp.zeros(features, precise))
        self.var = RunningAverage(jnp.ones(features, precise))
        self.result_dtype = dtype

    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Normalises [..., features]; where `train` is true, also updates the running averages."""
        return super().__call__(inputs, use_running_average=not train).astype(self.result_dtype)


class ConvNorm(nnx.Module):
    """A convolution followed by batch normalisation."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        kernel_init: nnx.Initializer = convolution_kernel,
        **settings: Unpack[Settings],
    ) -> None:
        """Takes what `Conv` takes."""
        self.conv = Conv(
            in_features,
            out_features,
            kernel_size,
            stride=stride,
            padding=padding,
            groups=groups,
            kernel_init=kernel_init,
            **settings,
        )
        self.norm = BatchNorm(out_features, **settings)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, in_features] to the convolution's shape."""
        return self.norm(self.conv(images), train=train)


class Dense(nnx.Linear):
    """An affine map of the last axis, computed in at least float32.

    Weights and biases start uniform between -1 and 1 over sqrt(in_features).

    Attributes:
      kernel: [in_features, out_features].
      bias: [out_features], or None without `use_bias`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            use_bias=use_bias,
            kernel_init=dense_uniform(in_features),
            bias_init=dense_uniform(in_features),
            dtype=at_least_float32(dtype),
            param_dtype=param_dtype,
            rngs=shared(rngs),
        )
