"""Post-activation residual networks: ResNet-18, 34 and 50, and the ResNeXts.

He et al., https://arxiv.org/abs/1512.03385, and Xie et al., https://arxiv.org/abs/1611.05431. With
the small stem they are the usual adaptation to 32x32 pixels (thesis 4.1.4).
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Unpack

import jax
from flax import nnx

from skdsam_jax.models.branches import Branch, depths_to_come
from skdsam_jax.models.layers import ConvNorm
from skdsam_jax.models.operations import relu
from skdsam_jax.models.settings import Settings
from skdsam_jax.models.stems import Stem
from skdsam_jax.options import ConfigError


class ResidualBlock(nnx.Module):
    """y = relu(branch(x) + shortcut(x)), with a ReLU between the units of the branch.

    The shortcut is the identity, or a 1x1 convolution with batch normalisation where shapes differ.

    Attributes:
      expansion: features of the output, relative to the block's width.
    """

    expansion: ClassVar[int]

    def __init__(
        self, in_features: int, width: int, *, stride: int = 1, **settings: Unpack[Settings]
    ) -> None:
        self.branch = nnx.List(self.units(in_features, width, stride, settings))
        out_features = self.expansion * width
        self.shortcut = (
            None
            if stride == 1 and in_features == out_features
            else ConvNorm(in_features, out_features, 1, stride=stride, **settings)
        )

    def units(
        self, in_features: int, width: int, stride: int, settings: Settings
    ) -> list[ConvNorm]:
        """The units of the branch; the last has `expansion * width` features."""
        raise TypeError(f"{type(self).__name__} defines no units")

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, in_features] to [..., expansion * width]."""
        branch, shortcut = self.parts(images, train=train)
        return relu(branch + shortcut)

    def parts(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Branch and shortcut before they are added, both of the output's shape."""
        *inner, last = self.branch
        features = images
        for unit in inner:
            features = relu(unit(features, train=train))
        branch = last(features, train=train)
        shortcut = images if self.shortcut is None else self.shortcut(images, train=train)
        return branch, shortcut


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions."""

    expansion = 1

    def units(
        self, in_features: int, width: int, stride: int, settings: Settings
    ) -> list[ConvNorm]:
        """The units of the branch."""
        return [
            ConvNorm(in_features, width, 3, stride=stride, **settings),
            ConvNorm(width, width, 3, **settings),
        ]


class BottleneckBlock(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions; the 3x3 one strides, and has groups in a ResNeXt.

    Attributes:
      groups: of the 3x3 convolution.
      group_width: features of each group in a block of width 64; those of others are in proportion.
    """

    expansion = 4
    groups: ClassVar[int] = 1
    group_width: ClassVar[int] = 64

    def units(
        self, in_features: int, width: int, stride: int, settings: Settings
    ) -> list[ConvNorm]:
        """The units of the branch."""
        if width * self.group_width % 64:
            step = 64 // math.gcd(64, self.group_width)
            raise ConfigError(
                f"config.model.width: {self.groups} groups of {self.group_width} at width 64 take "
                f"a multiple of {step}, not {width}"
            )
        inner = self.groups * (width * self.group_width // 64)
        return [
            ConvNorm(in_features, inner, 1, **settings),
            ConvNorm(inner, inner, 3, stride=stride, groups=self.groups, **settings),
            ConvNorm(inner, self.expansion * width, 1, **settings),
        ]


class Block32x4d(BottleneckBlock):
    """The block of ResNeXt 32x4d."""

    groups = 32
    group_width = 4


class Block8x64d(BottleneckBlock):
    """The block of ResNeXt 8x64d."""

    groups = 8
    group_width = 64


class ResNet(nnx.Module):
    """A post-activation residual network; each stage has half the height and width of the last.

    Attributes:
      bottleneck_width: features within a bottleneck head, twice those of the stem.
      block: the kind of block.
      channels: features of each stage's output.
      depths: blocks of each stage.
      widths: that of each stage's blocks.
      reductions: pixels of the input per pixel of each stage, along one side.
      preactivation: False: stages end in a ReLU.
    """

    def __init__(
        self,
        block: type[ResidualBlock],
        depths: Sequence[int],
        *,
        width: int = 64,
        stem: str = "small",
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the network.

        Args:
          block: the kind of block.
          depths: blocks per stage.
          width: filters of the stem; stage s, counted from 0, has blocks 2^s times as wide.
          stem: a name of `stems.STEMS`.
          **settings: see `Settings`.

        Raises:
          ConfigError: the width cannot be shared out between a block's groups.
          ValueError: no stem has that name.
        """
        self.stem = Stem(width, stem, **settings)
        self.block, self.depths = block, tuple(depths)
        self.widths = tuple(width * 2**stage for stage in range(len(depths)))
        self.bottleneck_width = 2 * width
        self.channels = tuple(block.expansion * stage_width for stage_width in self.widths)
        self.reductions = tuple(self.stem.reduction * 2**stage for stage in range(len(depths)))
        self.preactivation = False
        self.stages = nnx.List()
        in_features = width
        for stage, (depth, stage_width) in enumerate(zip(depths, self.widths, strict=True)):
            blocks = self._blocks(in_features, stage_width, depth, min(stage, 1) + 1, **settings)
            self.stages.append(nnx.List(blocks))
            in_features = self.channels[stage]

    def _blocks(
        self, in_features: int, width: int, depth: int, stride: int, **settings: Unpack[Settings]
    ) -> list[nnx.Module]:
        """What a stage runs in order: its blocks, of which the first strides."""
        first = self.block(in_features, width, stride=stride, **settings)
        features = self.block.expansion * width
        return [first, *(self.block(features, width, **settings) for _ in range(depth - 1))]

    def branch(
        self, stage: int, depths: Sequence[int] | None = None, **settings: Unpack[Settings]
    ) -> Branch:
        """A fresh copy of the stages after `stage`; see `Backbone.branch`."""
        depths = depths_to_come(self.depths, stage, depths)
        blocks = []
        for index, depth in enumerate(depths, stage + 1):
            blocks += self._blocks(
                self.channels[index - 1], self.widths[index], depth, 2, **settings
            )
        return Branch(blocks)

    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """The output of every stage.

        Args:
          images: [batch, height, width, 3].
          train: normalise by the batch and update the running averages.

        Returns:
          For each stage [batch, height / reduction, width / reduction, channels], rounded up.
        """
        features = self.stem(images, train=train)
        outputs = []
        for blocks in self.stages:
            for block in blocks:
                features = block(features, train=train)
            outputs.append(features)
        return tuple(outputs)
