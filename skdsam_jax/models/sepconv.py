"""SepConv heads and the attention links that mask what they read.

Figures are those of the thesis; the heads are those of Zhang et al.,
https://arxiv.org/abs/1905.08094, in the later form with attention.
"""

import itertools
from collections.abc import Sequence
from typing import Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from skdsam_jax.models.backbone import Backbone
from skdsam_jax.models.heads import Head, capped, preactivate
from skdsam_jax.models.layers import BatchNorm, ConvNorm, DepthwiseConv
from skdsam_jax.models.operations import at_least_float32, double, relu
from skdsam_jax.models.settings import Settings


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
        **settings: Unpack[Settings],
    ) -> None:
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
        align_corners: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the link.

        Args:
          features: those of the stage.
          preactivation: whether the stage hands on raw sums.
          width_cap: the most features within the link; None: as many as the stage has.
          align_corners: whether `up` puts the centres of the corner pixels on each other, as
            LightSKD does, or the corners of the images, as BYOT does.
          **settings: see `Settings`.
        """
        self.preactivation = BatchNorm(features, **settings) if preactivation else None
        self.sepconv = SepConv(features, features, width_cap=width_cap, **settings)
        self.norm = BatchNorm(features, **settings)
        self.align_corners = align_corners

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """The mask of a stage's output, of the same shape."""
        features = preactivate(self.preactivation, images, train=train)
        features = self.sepconv(features, train=train)
        features = relu(self.norm(features, train=train))
        resize = _resize_between_corner_pixels if self.align_corners else _resize
        return nnx.sigmoid(resize(features, images.shape[1:3]))


class SepConvHead(Head):
    """One SepConv for each stage still to come (figures 4.7-4.9).

    Attributes:
      link: the `AttentionLink` whose mask multiplies the input, or None.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        preactivation: bool,
        link: bool = True,
        align_corners: bool = False,
        width_cap: int | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the head.

        Args:
          channels: features of the stage it hangs on and of every deeper stage.
          preactivation: whether the stage hands on raw sums.
          link: whether to mask the input.
          align_corners: as in `AttentionLink`.
          width_cap: the most features between the first and the last, in the link too; None: as
            many as each stage has.
          **settings: see `Settings`.
        """
        first, *between, last = channels
        widths = (first, *(capped(features, width_cap) for features in between), last)
        units = {"width_cap": width_cap, **settings}
        self.link = (
            AttentionLink(first, preactivation=preactivation, align_corners=align_corners, **units)
            if link
            else None
        )
        self.preactivation = BatchNorm(first, **settings) if preactivation else None
        self.sepconvs = nnx.List(
            SepConv(shallow, deep, **units) for shallow, deep in itertools.pairwise(widths)
        )

    @classmethod
    def on(
        cls,
        backbone: Backbone,
        stage: int,
        *,
        width_cap: int | None = None,
        links: bool = True,
        align_corners: bool = False,
        **settings: Unpack[Settings],
    ) -> "SepConvHead":
        """The head of a stage of `backbone`."""
        return cls(
            backbone.channels[stage:],
            preactivation=backbone.preactivation,
            link=links,
            align_corners=align_corners,
            width_cap=width_cap,
            **settings,
        )

    def feature_map(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps a stage's output to a map of D features, of the deepest stage's size."""
        if self.link is not None:
            images = images * self.link(images, train=train)
        features = preactivate(self.preactivation, images, train=train)
        for sepconv in self.sepconvs:
            features = sepconv(features, train=train)
        return features


def _resize(images: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """Interpolates bilinearly; half-pixel centres, the border repeated."""
    if size == (2 * images.shape[1], 2 * images.shape[2]):
        return double(images)
    return jax.image.resize(images, (*images.shape[:1], *size, images.shape[3]), "bilinear")


def _resize_between_corner_pixels(images: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """Interpolates bilinearly between the centres of the corner pixels, in at least float32.

    y[r] = x[r (n - 1) / (m - 1)] from n pixels to m, along both axes.
    """
    precise = images.astype(at_least_float32(images.dtype))
    rows, columns = (
        jnp.asarray(_hats(before, after), precise.dtype)
        for before, after in zip(images.shape[1:3], size, strict=True)
    )
    resized = jnp.einsum(
        "bhwf,rh,cw->brcf", precise, rows, columns, precision=jax.lax.Precision.HIGHEST
    )
    return resized.astype(images.dtype)


def _hats(before: int, after: int) -> np.ndarray:
    """[after, before], how much of each old pixel a new one takes."""
    positions = np.linspace(0, before - 1, after)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(before)))
