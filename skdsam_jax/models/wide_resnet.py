"""Wide residual networks WRN-d-k for small images.

Zagoruyko and Komodakis, https://arxiv.org/abs/1605.07146, without dropout.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from skdsam_jax.models.layers import BatchNorm, Conv
from skdsam_jax.models.operations import relu
from skdsam_jax.options import ConfigError


class PreactivationBlock(nnx.Module):
    """y = conv2(relu(BN2(conv1(h)))) + shortcut, where h = relu(BN1(x)).

    Both convolutions are 3x3, the first one strides. The shortcut is x, or a 1x1 convolution of h
    where shapes differ.
    """

    def __init__(
        self, in_features: int, out_features: int, *, stride: int = 1, **settings: Any
    ) -> None:
        """Creates the block; `settings` are `dtype`, `param_dtype` and `rngs`."""
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


class WideResNet(nnx.Module):
    """A pre-activation residual network of three stages.

    Attributes:
      bottleneck_width: features within a bottleneck head, twice those of the first stage.
      channels: features of each stage's output.
      reductions: pixels of the input per pixel of each stage, along one side.
      preactivation: True: the first two stages hand on raw sums; BN and ReLU follow the last.
      head_width_cap: the most features within a head, or None.
    """

    head_width_cap: int | None = None

    def __init__(
        self,
        depth: int,
        widening: int,
        *,
        width: int = 16,
        stem: str = "small",
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Creates the network.

        Args:
          depth: d = 6 n + 4, for n blocks in each stage.
          widening: k, the features of the first stage per filter of the stem.
          width: filters of the stem; stage s, counted from 0, has `width * widening * 2^s`.
          stem: "small": one 3x3 convolution.
          dtype: what it computes in.
          param_dtype: what its parameters are kept in.
          rngs: initialises its parameters.

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
        settings = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.channels = tuple(width * widening * 2**stage for stage in range(3))
        self.bottleneck_width = 2 * self.channels[0]
        self.reductions = (1, 2, 4)
        self.preactivation = True
        self.stem = Conv(3, width, 3, **settings)
        self.stages = nnx.List()
        in_features = width
        for stage, features in enumerate(self.channels):
            blocks = nnx.List()
            for index in range(blocks_per_stage):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(PreactivationBlock(in_features, features, stride=stride, **settings))
                in_features = features
            self.stages.append(blocks)
        self.norm = BatchNorm(in_features, **settings)

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
