"""Wide residual networks WRN-d-k for small images.

Zagoruyko and Komodakis, https://arxiv.org/abs/1605.07146, without dropout.
"""

from collections.abc import Sequence
from typing import Unpack

import jax
from flax import nnx

from skdsam_jax.models.branches import Branch, depths_to_come
from skdsam_jax.models.layers import BatchNorm, Conv
from skdsam_jax.models.operations import relu
from skdsam_jax.models.settings import Settings
from skdsam_jax.options import ConfigError


class PreactivationBlock(nnx.Module):
    """y = conv2(relu(BN2(conv1(h)))) + shortcut, where h = relu(BN1(x)).

    Both convolutions are 3x3, the first one strides. The shortcut is x, or a 1x1 convolution of h
    where shapes differ.
    """

    def __init__(
        self, in_features: int, out_features: int, *, stride: int = 1, **settings: Unpack[Settings]
    ) -> None:
        self.norms = nnx.List(
            BatchNorm(features, **settings) for features in (in_features, out_features)
        )
        self.convs = nnx.List(
            [
                Conv(in_features, out_features, 3, stride=stride, **settings),
                Conv(out_features, out_features, 3, **settings),
            ]
        )
        self.shortcut = (
            None
            if stride == 1 and in_features == out_features
            else Conv(in_features, out_features, 1, stride=stride, **settings)
        )

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, in_features] to [..., out_features]."""
        activated = relu(self.norms[0](images, train=train))
        features = relu(self.norms[1](self.convs[0](activated), train=train))
        shortcut = images if self.shortcut is None else self.shortcut(activated)
        return self.convs[1](features) + shortcut


def _blocks(
    in_features: int, features: int, depth: int, stride: int, **settings: Unpack[Settings]
) -> list[PreactivationBlock]:
    """The blocks of a stage, of which the first strides."""
    first = PreactivationBlock(in_features, features, stride=stride, **settings)
    return [first, *(PreactivationBlock(features, features, **settings) for _ in range(depth - 1))]


class WideResNet(nnx.Module):
    """A pre-activation residual network of three stages.

    Attributes:
      bottleneck_width: features within a bottleneck head, twice those of the first stage.
      channels: features of each stage's output.
      depths: blocks of each stage.
      reductions: pixels of the input per pixel of each stage, along one side.
      preactivation: True: the first two stages hand on raw sums; BN and ReLU follow the last.
    """

    def __init__(
        self,
        depth: int,
        widening: int,
        *,
        width: int = 16,
        stem: str = "small",
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the network.

        Args:
          depth: d = 6 n + 4, for n blocks in each stage.
          widening: k, the features of the first stage per filter of the stem.
          width: filters of the stem; stage s, counted from 0, has `width * widening * 2^s`.
          stem: "small": one 3x3 convolution.
          **settings: see `Settings`.

        Raises:
          ConfigError: the depth is none of 10, 16, 22, ..., or another stem.
        """
        blocks_per_stage, remainder = divmod(depth - 4, 6)
        if remainder or blocks_per_stage < 1:
            raise ConfigError(
                "config.model.name: a wide residual network takes a depth of 6 n + 4, such as 10, "
                f"16 or 22, not {depth}"
            )
        if stem != "small":
            raise ConfigError(
                f"config.model.stem: a wide residual network takes small, not {stem!r}"
            )
        self.channels = tuple(width * widening * 2**stage for stage in range(3))
        self.depths = 3 * (blocks_per_stage,)
        self.bottleneck_width = 2 * self.channels[0]
        self.reductions = (1, 2, 4)
        self.preactivation = True
        self.stem = Conv(3, width, 3, **settings)
        self.stages = nnx.List()
        in_features = width
        for stage, features in enumerate(self.channels):
            stride = 2 if stage > 0 else 1
            blocks = _blocks(in_features, features, blocks_per_stage, stride, **settings)
            self.stages.append(nnx.List(blocks))
            in_features = features
        self.norm = BatchNorm(in_features, **settings)

    def branch(
        self, stage: int, depths: Sequence[int] | None = None, **settings: Unpack[Settings]
    ) -> Branch:
        """A fresh copy of the stages after `stage`; see `Backbone.branch`."""
        depths = depths_to_come(self.depths, stage, depths)
        blocks = []
        for index, depth in enumerate(depths, stage + 1):
            blocks += _blocks(self.channels[index - 1], self.channels[index], depth, 2, **settings)
        return Branch(blocks, BatchNorm(self.channels[-1], **settings))

    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """The output of every stage.

        Args:
          images: [batch, height, width, 3].
          train: normalise by the batch and update the running averages.

        Returns:
          For each stage [batch, height / reduction, width / reduction, channels], rounded up.
        """
        features = self.stem(images)
        outputs = []
        for blocks in self.stages:
            for block in blocks:
                features = block(features, train=train)
            outputs.append(features)
        return (*outputs[:-1], relu(self.norm(outputs[-1], train=train)))
