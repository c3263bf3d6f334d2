"""What hangs on a shallow stage while the network trains.

A head turns the output of a shallow stage into a map like the deepest one. Behind a pre-activation
backbone, whose stages hand on raw sums, heads begin with batch normalisation and ReLU of their own.
Figures are those of the thesis.
"""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models.backbone import Backbone
from skdsam_jax.models.branches import Depths, whole_stages
from skdsam_jax.models.layers import (
    BatchNorm,
    ConvNorm,
    Dense,
    global_average_pool,
)
from skdsam_jax.models.operations import at_least_float32, relu
from skdsam_jax.models.settings import Settings
from skdsam_jax.options import ConfigError


class Head(nnx.Module):
    """A kind of head: `on` and `feature_map` are its own, pooling is common to all.

    Attributes:
      minimum_size: the smallest side, in pixels, of a stage's output that it takes.
    """

    minimum_size: int = 1

    @classmethod
    def on(
        cls, backbone: Backbone, stage: int, *, width_cap: int | None = None, **options: Any
    ) -> "Head":
        """The head of a stage of `backbone`.

        Args:
          backbone: the network it hangs on; only its attributes and `branch` are used.
          stage: index from 0 of one of its shallow stages.
          width_cap: the most features within the head.
          **options: what this kind of head takes besides, and its `Settings`.
        """
        raise TypeError(f"{cls.__name__} cannot be hung on a backbone")

    def feature_map(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps a stage's output to a map [batch, h, w, D] of the deepest stage's size."""
        raise TypeError(f"{type(self).__name__} has no feature map")

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps a stage's output [batch, height, width, features] to features [batch, D]."""
        return global_average_pool(self.feature_map(images, train=train))


class BottleneckHead(Head):
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
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the head.

        Args:
          in_features: features of the stage it hangs on.
          width: features within the bottleneck.
          out_features: D, features of the deepest stage.
          reduction: k, pixels of this stage per pixel of the deepest one, along one side.
          preactivation: whether the stage hands on raw sums.
          **settings: see `Settings`.
        """
        self.reduction = self.minimum_size = reduction
        self.preactivation = BatchNorm(in_features, **settings) if preactivation else None
        self.units = nnx.List(
            [
                ConvNorm(in_features, width, 1, **settings),
                ConvNorm(width, width, reduction, stride=reduction, padding=0, **settings),
                ConvNorm(width, out_features, 1, **settings),
            ]
        )

    @classmethod
    def on(
        cls,
        backbone: Backbone,
        stage: int,
        *,
        width_cap: int | None = None,
        **settings: Unpack[Settings],
    ) -> "BottleneckHead":
        """The head of a stage of `backbone`."""
        return cls(
            backbone.channels[stage],
            capped(backbone.bottleneck_width, width_cap),
            backbone.channels[-1],
            backbone.reductions[-1] // backbone.reductions[stage],
            preactivation=backbone.preactivation,
            **settings,
        )

    def feature_map(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps a stage's output to a map of D features, of the deepest stage's size.

        Raises:
          ValueError: `images` are smaller than the k x k kernel.
        """
        if min(images.shape[1:3]) < self.reduction:
            size = "x".join(map(str, images.shape[1:3]))
            raise ValueError(f"images: takes {self.reduction} pixels a side or more, not {size}")
        features = preactivate(self.preactivation, images, train=train)
        for unit in self.units:
            features = relu(unit(features, train=train))
        return features


class BranchHead(Head):
    """A copy of the stages still to come: the head of MSD, DKS and MixSKD.

    Attributes:
      branch: the copy, as `Backbone.branch` makes it.
    """

    def __init__(self, branch: nnx.Module) -> None:
        self.branch = branch

    @classmethod
    def on(
        cls,
        backbone: Backbone,
        stage: int,
        *,
        width_cap: int | None = None,
        depths: Depths = whole_stages,
        **settings: Unpack[Settings],
    ) -> "BranchHead":
        """The head of a stage of `backbone`.

        Args:
          backbone: the network that it copies.
          stage: index from 0 of the shallow stage it hangs on.
          width_cap: must be None: a copy is as wide as the trunk.
          depths: gives its blocks of each stage to come, given those of the trunk.
          **settings: see `Settings`.

        Raises:
          ConfigError: there is a cap.
        """
        if width_cap is not None:
            raise ConfigError(
                "config.model.head_width_cap: heads that copy stages are as wide as these and take "
                f"None, not {width_cap}"
            )
        ahead = backbone.depths[stage + 1 :]
        return cls(backbone.branch(stage, depths(ahead), **settings))

    def feature_map(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps a stage's output to a map of D features, of the deepest stage's size."""
        return self.branch(images, train=train)


class Projection(nnx.Module):
    """The non-linear projection of an exit's pooled features (thesis 3.2.2).

        p = W2 relu(BN(W1 F + b1)) + b2

    computed in at least float32, [batch, D] to [batch, D].
    """

    def __init__(self, features: int, **settings: Unpack[Settings]) -> None:
        settings["dtype"] = at_least_float32(settings.get("dtype", jnp.float32))
        self.inner = Dense(features, features, **settings)
        self.norm = BatchNorm(features, **settings)
        self.outer = Dense(features, features, **settings)

    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        """Maps pooled features [batch, D] to the query or key [batch, D]."""
        return self.outer(relu(self.norm(self.inner(features), train=train)))


def capped(features: int, cap: int | None) -> int:
    """`features`, but at most `cap` of them if there is a cap."""
    return features if cap is None else min(features, cap)


def preactivate(norm: BatchNorm | None, images: jax.Array, *, train: bool) -> jax.Array:
    """BN and ReLU of raw sums; images as they are if there is no norm."""
    return images if norm is None else relu(norm(images, train=train))
