"""SAN-10, 15 and 19: networks of self-attention, without any other convolution than 1x1.

Zhao et al., Exploring self-attention for image recognition, CVPR 2020,
https://arxiv.org/abs/2004.13621.
"""

import functools
from collections.abc import Sequence
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models.branches import Branch, depths_to_come
from skdsam_jax.models.initialization import fan_in_uniform
from skdsam_jax.models.layers import BatchNorm, Conv, ConvNorm
from skdsam_jax.models.operations import relu
from skdsam_jax.models.self_attention import SelfAttentionBlock
from skdsam_jax.models.settings import Settings
from skdsam_jax.models.stems import STEMS
from skdsam_jax.options import ConfigError

# Of the first level's footprint, and of all others'.
_FIRST_SIZE, _SIZE = 3, 7


class Level(nnx.Module):
    """Pooling where asked for, a 1x1 convolution, blocks, BN and ReLU.

    Attributes:
      blocks: in order.
      pooled: whether it begins with the maximum of 2x2 pixels.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        depth: int,
        *,
        size: int = _SIZE,
        pooled: bool = True,
        kind: str,
        **settings: Unpack[Settings],
    ) -> None:
        """Creates a level of `depth` blocks with footprints of `size` and weights of that kind."""
        self.pooled = pooled
        self.conv = Conv(in_features, features, 1, kernel_init=fan_in_uniform, **settings)
        self.blocks = nnx.List(
            SelfAttentionBlock(features, size, kind, **settings) for _ in range(depth)
        )
        self.norm = BatchNorm(features, **settings)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, in_features] to [..., features], half as large if pooled."""
        images = self.conv(_max_pool(images) if self.pooled else images)
        for block in self.blocks:
            images = block(images, train=train)
        return relu(self.norm(images, train=train))


class SAN(nnx.Module):
    """A self-attention network, tapped after each level but the first.

    The published network, for 224 pixels, pools before every level. With the small stem it does not
    before the first two, so that images of 32 pixels end as maps of 4x4, the smallest that a
    mirrored footprint of 7x7 takes.

    Attributes:
      bottleneck_width: features within a bottleneck head, twice those of the stem.
      channels: features of each stage's output.
      depths: blocks of each stage; the first level's, with a footprint of 3x3, are not counted.
      kind: of weights.
      reductions: pixels of the input per pixel of each stage, along one side.
      preactivation: False: stages end in a ReLU.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        width: int = 64,
        stem: str = "small",
        san_kind: str = "patchwise",
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the network.

        Args:
          depths: blocks of each level.
          width: filters of the stem and of the first level; level l from 1 has `width * 2^(l + 1)`.
          stem: "small" or "imagenet"; the latter pools before the first two levels.
          san_kind: of weights, a name of `self_attention.KINDS`.
          **settings: see `Settings`.

        Raises:
          ConfigError: the width is no multiple of 32.
          ValueError: no stem has that name.
        """
        if width % 32:
            raise ConfigError(f"config.model.width: a SAN takes a multiple of 32, not {width}")
        if stem not in STEMS:
            raise ValueError(f"stem: takes one of {', '.join(STEMS)}, not {stem!r}")
        large = stem == "imagenet"
        self.kind = san_kind
        self.channels = tuple(4 * width * 2**stage for stage in range(len(depths) - 1))
        self.depths = tuple(depths[1:])
        self.bottleneck_width = 2 * width
        reduction = 4 if large else 1
        self.reductions = tuple(reduction * 2**stage for stage in range(len(self.depths)))
        self.preactivation = False
        self.stem = ConvNorm(3, width, 1, kernel_init=fan_in_uniform, **settings)
        first = Level(
            width, width, depths[0], size=_FIRST_SIZE, pooled=large, kind=san_kind, **settings
        )
        self.levels = nnx.List([first])
        for level, (features, depth) in enumerate(zip(self.channels, self.depths, strict=True)):
            in_features = self.channels[level - 1] if level else width
            pooled = large or level > 0
            self.levels.append(
                Level(in_features, features, depth, pooled=pooled, kind=san_kind, **settings)
            )

    def branch(
        self, stage: int, depths: Sequence[int] | None = None, **settings: Unpack[Settings]
    ) -> Branch:
        """A fresh copy of the stages after `stage`; see `Backbone.branch`."""
        depths = depths_to_come(self.depths, stage, depths)
        return Branch(
            Level(self.channels[index - 1], self.channels[index], depth, kind=self.kind, **settings)
            for index, depth in enumerate(depths, stage + 1)
        )

    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """The output of every stage.

        Args:
          images: [batch, height, width, 3].
          train: normalise by the batch and update the running averages.

        Returns:
          For each stage [batch, height / reduction, width / reduction, channels], rounded up.

        Raises:
          ConfigError: the last stage would be smaller than 4x4 pixels.
        """
        smallest = _SIZE // 2 * self.reductions[-1] + 1
        if min(images.shape[1:3]) < smallest:
            shape = "x".join(map(str, images.shape[1:3]))
            raise ConfigError(
                f"config.data.image_size: this SAN takes {smallest} pixels or more, of which its "
                f"last stage makes 4, not {shape}"
            )
        features = relu(self.stem(images, train=train))
        outputs = []
        for level in self.levels:
            features = level(features, train=train)
            outputs.append(features)
        return tuple(outputs[1:])


def _max_pool(images: jax.Array) -> jax.Array:
    """The maximum of 2x2 pixels, of what there is in a last odd row or column.

    Of slices, since the gradient of a window's maximum is slow on a CPU.
    """
    odd = tuple((0, length % 2) for length in images.shape[1:3])
    padded = jnp.pad(images, ((0, 0), *odd, (0, 0)), constant_values=-jnp.inf)
    return functools.reduce(
        jnp.maximum, (padded[:, row::2, column::2] for row in range(2) for column in range(2))
    )
