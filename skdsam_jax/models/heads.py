"""What hangs on a shallow stage while the network trains: heads, attention links, projections.

A head turns the output of a shallow stage into features as long as the deepest ones. Behind a
pre-activation backbone, whose stages hand on raw sums, heads and links begin with batch
normalisation and ReLU of their own. Figures are those of the thesis; the SepConv heads are those of
Zhang et al., https://arxiv.org/abs/1905.08094, in the later form with attention.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from skdsam_jax.models.layers import (
    BatchNorm,
    ConvNorm,
    Dense,
    DepthwiseConv,
    at_least_float32,
    global_average_pool,
)
from skdsam_jax.models.operations import double, relu


def capped(features: int, cap: int | None) -> int:
    """`features`, but at most `cap` of them if there is a cap."""
    return features if cap is None else min(features, cap)


class SepConv(nnx.Module):
    """Two depthwise-separable convolutions, the first with stride 2 (figure 4.6).

    Depthwise 3x3 stride 2, pointwise to the same width, BN, ReLU; depthwise 3x3, pointwise to the
    new width, BN, ReLU. With a cap, the width between the two is at most that.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        width_cap: int | None = None,
        **settings: Any,
    ) -> None:
        """Creates the unit; `settings` are `dtype`, `param_dtype` and `rngs`."""
        widths = (in_features, capped(in_features, width_cap), out_features)
        self.depthwise = nnx.List(
            DepthwiseConv(features, stride=stride, **settings)
            for features, stride in zip(widths[:2], (2, 1), strict=True)
        )
        self.pointwise = nnx.List(
            ConvNorm(shallow, deep, 1, **settings) for shallow, deep in itertools.pairwise(widths)
        )

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, in_features] to half the size, rounded up."""
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            images = relu(pointwise(depthwise(images), train=train))
        return images


class AttentionLink(nnx.Module):
    """A mask in [1/2, 1) for the output of a stage (figure 4.10).

        mask = sigmoid(up(relu(BN(SepConv(x)))))

    where `up` interpolates bilinearly to the size of x. The mask multiplies the stage's output on
    its way into the head; the backbone goes on with the unmasked output.
    """

    def __init__(
        self,
        features: int,
        *,
        preactivation: bool,
        width_cap: int | None = None,
        **settings: Any,
    ) -> None:
        """Creates the link; `settings` are `dtype`, `param_dtype` and `rngs`."""
        self.preactivation = BatchNorm(features, **settings) if preactivation else None
        self.sepconv = SepConv(features, features, width_cap=width_cap, **settings)
        self.norm = BatchNorm(features, **settings)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """The mask of a stage's output, of the same shape."""
        features = _preactivate(self.preactivation, images, train=train)
        features = self.sepconv(features, train=train)
        features = relu(self.norm(features, train=train))
        return nnx.sigmoid(_resize(features, images.shape))


class SepConvHead(nnx.Module):
    """One SepConv for each stage still to come, then global average pooling (figures 4.7-4.9).

    Attributes:
      link: the `AttentionLink` whose mask multiplies the input, or None.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        preactivation: bool,
        link: bool = True,
        width_cap: int | None = None,
        **settings: Any,
    ) -> None:
        """Creates the head.

        Args:
          channels: features of the stage it hangs on and of every deeper stage.
          preactivation: whether the stage hands on raw sums.
          link: whether to mask the input.
          width_cap: the most features between the first and the last, in the link too; None: as
            many as each stage has.
          **settings: `dtype`, `param_dtype` and `rngs`.
        """
        first, *between, last = channels
        widths = (first, *(capped(features, width_cap) for features in between), last)
        units = {"width_cap": width_cap, **settings}
        self.link = AttentionLink(first, preactivation=preactivation, **units) if link else None
        self.preactivation = BatchNorm(first, **settings) if preactivation else None
        self.sepconvs = nnx.List(
            SepConv(shallow, deep, **units) for shallow, deep in itertools.pairwise(widths)
        )

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps a stage's output [batch, height, width, features] to features [batch, D]."""
        if self.link is not None:
            images = images * self.link(images, train=train)
        features = _preactivate(self.preactivation, images, train=train)
        for sepconv in self.sepconvs:
            features = sepconv(features, train=train)
        return global_average_pool(features)


class BottleneckHead(nnx.Module):
    """The head of BYOT and PD-BYOT (figure 4.4).

    1x1 convolution to the bottleneck's width, BN, ReLU; k x k convolution of stride k without
    padding, BN, ReLU; 1x1 convolution to the deepest width, BN, ReLU; global average pooling.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        out_features: int,
        reduction: int,
        *,
        preactivation: bool,
        **settings: Any,
    ) -> None:
        """Creates the head.

        Args:
          in_features: features of the stage it hangs on.
          width: features within the bottleneck.
          out_features: D, features of the deepest stage.
          reduction: k, pixels of this stage per pixel of the deepest one, along one side.
          preactivation: whether the stage hands on raw sums.
          **settings: `dtype`, `param_dtype` and `rngs`.
        """
        self.reduction = reduction
        self.preactivation = BatchNorm(in_features, **settings) if preactivation else None
        self.units = nnx.List(
            [
                ConvNorm(in_features, width, 1, **settings),
                ConvNorm(width, width, reduction, stride=reduction, padding=0, **settings),
                ConvNorm(width, out_features, 1, **settings),
            ]
        )

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps a stage's output [batch, height, width, in_features] to features [batch, D].

        Raises:
          ValueError: `images` are smaller than the k x k kernel.
        """
        if min(images.shape[1:3]) < self.reduction:
            size = "x".join(map(str, images.shape[1:3]))
            raise ValueError(f"images: takes {self.reduction} pixels a side or more, not {size}")
        features = _preactivate(self.preactivation, images, train=train)
        for unit in self.units:
            features = relu(unit(features, train=train))
        return global_average_pool(features)


class Projection(nnx.Module):
    """The non-linear projection of an exit's pooled features (thesis 3.2.2).

        p = W2 relu(BN(W1 F + b1)) + b2

    computed in at least float32, [batch, D] to [batch, D].
    """

    def __init__(
        self,
        features: int,
        *,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        settings = {"dtype": at_least_float32(dtype), "param_dtype": param_dtype, "rngs": rngs}
        self.inner = Dense(features, features, **settings)
        self.norm = BatchNorm(features, **settings)
        self.outer = Dense(features, features, **settings)

    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        """Maps pooled features [batch, D] to the query or key [batch, D]."""
        return self.outer(relu(self.norm(self.inner(features), train=train)))


def _preactivate(norm: BatchNorm | None, images: jax.Array, *, train: bool) -> jax.Array:
    return images if norm is None else relu(norm(images, train=train))


def _resize(images: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Interpolates bilinearly; half-pixel centres, the border repeated."""
    if shape[1:3] == (2 * images.shape[1], 2 * images.shape[2]):
        return double(images)
    return jax.image.resize(images, (*images.shape[:1], *shape[1:3], images.shape[3]), "bilinear")
