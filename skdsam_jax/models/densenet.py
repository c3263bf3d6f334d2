"""DenseNet-121, 169 and 201.

Huang et al., https://arxiv.org/abs/1608.06993: bottleneck layers, compression 1/2.
"""

from collections.abc import Sequence
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models.branches import Branch, depths_to_come
from skdsam_jax.models.layers import BatchNorm, Conv, at_least_float32
from skdsam_jax.models.operations import relu
from skdsam_jax.models.settings import Settings
from skdsam_jax.models.stems import Stem
from skdsam_jax.options import ConfigError


class NormConv(nnx.Module):
    """Batch normalisation, ReLU and a convolution."""

    def __init__(
        self, in_features: int, out_features: int, kernel_size: int, **settings: Unpack[Settings]
    ) -> None:
        self.norm = BatchNorm(in_features, **settings)
        self.conv = Conv(in_features, out_features, kernel_size, **settings)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, in_features] to [..., out_features]."""
        return self.conv(relu(self.norm(images, train=train)))


class DenseLayer(nnx.Module):
    """x followed by `growth` new features: 1x1 unit to `inner`, 3x3 unit to growth."""

    def __init__(
        self,
        in_features: int,
        growth: int,
        *,
        inner: int | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the layer; `inner` features are 4 growth if not given."""
        inner = 4 * growth if inner is None else inner
        self.units = nnx.List(
            [
                NormConv(in_features, inner, 1, **settings),
                NormConv(inner, growth, 3, **settings),
            ]
        )

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, in_features] to [..., in_features + growth]."""
        features = images
        for unit in self.units:
            features = unit(features, train=train)
        return jnp.concatenate([images, features], axis=-1)


class Transition(NormConv):
    """A 1x1 unit to half the features, then the mean of 2x2 pixels.

    A last odd row or column is the mean of what there is.
    """

    def __init__(self, in_features: int, **settings: Unpack[Settings]) -> None:
        super().__init__(in_features, in_features // 2, 1, **settings)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, in_features] to half of it in all but the batch."""
        features = super().__call__(images, train=train)
        precise = features.astype(at_least_float32(features.dtype))
        pooled = nnx.avg_pool(precise, (2, 2), (2, 2), "SAME", count_include_pad=False)
        return pooled.astype(features.dtype)


class DenseNet(nnx.Module):
    """A densely connected network, tapped after each dense block, before its transition.

    Attributes:
      bottleneck_width: features within a bottleneck head, twice those of the stem.
      channels: features of each dense block's output.
      depths: layers of each dense block.
      growth: features that each layer writes.
      reductions: pixels of the input per pixel of each stage, along one side.
      preactivation: True: stages hand on what their layers wrote; BN and ReLU follow the last.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        width: int = 64,
        stem: str = "small",
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the network.

        Args:
          depths: layers of each dense block.
          width: filters of the stem, twice the growth rate, which is 32 in the published networks.
          stem: a name of `stems.STEMS`; the small one is a bare convolution here.
          **settings: see `Settings`.

        Raises:
          ConfigError: the width is odd.
          ValueError: no stem has that name.
        """
        if width % 2:
            raise ConfigError(
                "config.model.width: a DenseNet takes an even number, twice its growth rate, "
                f"not {width}"
            )
        small = stem == "small"
        self.stem = Conv(3, width, 3, **settings) if small else Stem(width, stem, **settings)
        reduction = 1 if small else self.stem.reduction
        self.depths, self.growth = tuple(depths), width // 2
        self.bottleneck_width = 2 * width
        self.reductions = tuple(reduction * 2**stage for stage in range(len(depths)))
        self.preactivation = True
        self.stages, self.transitions = nnx.List(), nnx.List()
        channels, features = [], width
        for depth in depths:
            if channels:
                self.transitions.append(Transition(features, **settings))
                features //= 2
            layers = nnx.List()
            for _ in range(depth):
                layers.append(DenseLayer(features, self.growth, **settings))
                features += self.growth
            self.stages.append(layers)
            channels.append(features)
        self.channels = tuple(channels)
        self.norm = BatchNorm(features, **settings)

    def branch(
        self, stage: int, depths: Sequence[int] | None = None, **settings: Unpack[Settings]
    ) -> Branch:
        """A fresh copy of the stages after `stage`; see `Backbone.branch`.

        A block of fewer layers writes as many features in all, so that the branch ends as wide as
        the trunk: they are shared out among its layers, each behind the trunk's 1x1 unit.
        """
        layers, features = [], self.channels[stage]
        for index, depth in enumerate(depths_to_come(self.depths, stage, depths), stage + 1):
            layers.append(Transition(features, **settings))
            features //= 2
            written = self.growth * self.depths[index]
            for layer in range(depth):
                growth = written * (layer + 1) // depth - written * layer // depth
                layers.append(DenseLayer(features, growth, inner=4 * self.growth, **settings))
                features += growth
        return Branch(layers, BatchNorm(features, **settings))

    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """The output of every stage.

        Args:
          images: [batch, height, width, 3].
          train: normalise by the batch and update the running averages.

        Returns:
          For each stage [batch, height / reduction, width / reduction, channels], rounded up.
        """
        if isinstance(self.stem, Stem):
            features = self.stem(images, train=train)
        else:
            features = self.stem(images)
        outputs = []
        for layers, transition in zip(self.stages, [None, *self.transitions], strict=True):
            if transition is not None:
                features = transition(features, train=train)
            for layer in layers:
                features = layer(features, train=train)
            outputs.append(features)
        return (*outputs[:-1], relu(self.norm(outputs[-1], train=train)))
