"""FRSKD's self-teacher, which refines the stages of a network top-down and bottom-up.

Ji et al., https://arxiv.org/abs/2103.08273: the network BiFPNc, of one layer.
"""

import itertools
from collections.abc import Sequence
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models.initialization import fan_in_uniform
from skdsam_jax.models.layers import (
    ConvNorm,
    Dense,
    DepthwiseConv,
    global_average_pool,
)
from skdsam_jax.models.operations import at_least_float32, max_pool, relu
from skdsam_jax.models.settings import Settings


class SelfTeacher(nnx.Module):
    """A pyramid over S stages F_1..F_S and the logits of what it makes of the deepest one.

    With k_i = width c_i features at stage i, P a 1x1 convolution, BN and ReLU, D a `SeparableUnit`
    and <..> a `Fusion`:

        l_i = P(F_i)                                                         i = 1..S
        v_S = l_S,  v_i = D(<l_i, up(P(relu v_{i+1}))>)                      i = S-1..1
        o_1 = v_1,  o_i = D(<P'(F_i), relu v_i, P(pool(relu o_{i-1}))>)      i = 2..S
        refined F_i = relu o_i,  logits = dense(mean over pixels of refined F_S)

    where o_S has no term in v_S, `up` repeats pixels and `pool` takes the maximum of 3x3, every
    second one. All weights start as PyTorch's do.

    Attributes:
      lateral: of each stage, F_i -> l_i.
      second_lateral: P' of each stage but the first.
      up, top_down, up_fusion: P, D and weights of v_1..v_{S-1}.
      down, bottom_up, down_fusion: P, D and weights of o_2..o_S.
      dense: pooled features -> logits.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        *,
        width: int = 2,
        depth: int = 2,
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the self-teacher.

        Args:
          channels: c_i, features of each stage.
          num_classes: the number of classes.
          width: features of the self-teacher at a stage, per feature of the stage.
          depth: separable convolutions in each D.
          **settings: see `Settings`.
        """
        widths = [width * features for features in channels]
        pairs = list(itertools.pairwise(widths))

        def pointwise(in_features: int, out_features: int) -> ConvNorm:
            return ConvNorm(in_features, out_features, 1, kernel_init=fan_in_uniform, **settings)

        def lateral(first: int) -> nnx.List:
            return nnx.List(map(pointwise, channels[first:], widths[first:]))

        def separable(units: Sequence[int]) -> nnx.List:
            return nnx.List(SeparableUnit(features, depth, **settings) for features in units)

        self.lateral, self.second_lateral = lateral(0), lateral(1)
        self.up = nnx.List(pointwise(deep, shallow) for shallow, deep in pairs)
        self.top_down = separable(widths[:-1])
        self.up_fusion = nnx.List(Fusion(2, **settings) for _ in pairs)
        self.down = nnx.List(pointwise(shallow, deep) for shallow, deep in pairs)
        self.bottom_up = separable(widths[1:])
        terms = [3] * (len(pairs) - 1) + [2]
        self.down_fusion = nnx.List(Fusion(count, **settings) for count in terms)
        self.dense = Dense(widths[-1], num_classes, **settings)

    def __call__(
        self, stages: Sequence[jax.Array], *, train: bool
    ) -> tuple[tuple[jax.Array, ...], jax.Array]:
        """Refined maps of all stages, and logits.

        Args:
          stages: a backbone's outputs [batch, height, width, c_i], each half as large as the last,
            rounded up. Only what is positive in them counts.
          train: normalise by the batch and update the running averages.

        Returns:
          The refined maps [batch, height, width, k_i], not negative, and logits
          [batch, num_classes] in at least float32.
        """
        stages = [relu(stage) for stage in stages]
        laterals = [
            relu(unit(stage, train=train)) for unit, stage in zip(self.lateral, stages, strict=True)
        ]
        top_down = [laterals[-1]]
        for i in reversed(range(len(stages) - 1)):
            # The 1x1 unit comes before the repetition, which changes neither means nor variances.
            above = relu(self.up[i](relu(top_down[0]), train=train))
            terms = laterals[i], _repeated(above, laterals[i].shape)
            top_down.insert(0, self.top_down[i](self.up_fusion[i](*terms), train=train))
        refined = [relu(top_down[0])]
        for i, fuse in enumerate(self.down_fusion, 1):
            lateral = relu(self.second_lateral[i - 1](stages[i], train=train))
            # The last fusion has weights for two.
            between = [relu(top_down[i])] if i < len(stages) - 1 else []
            below = relu(self.down[i - 1](_pooled(refined[-1]), train=train))
            fused = fuse(lateral, *between, below)
            refined.append(relu(self.bottom_up[i - 1](fused, train=train)))
        return tuple(refined), self.dense(global_average_pool(refined[-1]))


class SeparableUnit(nnx.Module):
    """3x3 depthwise convolution, 1x1 convolution and BN, `depth` times with ReLUs between."""

    def __init__(self, features: int, depth: int, **settings: Unpack[Settings]) -> None:
        uniform = {"kernel_init": fan_in_uniform, **settings}
        self.depthwise = nnx.List(DepthwiseConv(features, **uniform) for _ in range(depth))
        self.pointwise = nnx.List(ConvNorm(features, features, 1, **uniform) for _ in range(depth))

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, features] to the same shape, positive or not."""
        for index, (depthwise, pointwise) in enumerate(
            zip(self.depthwise, self.pointwise, strict=True)
        ):
            images = pointwise(depthwise(relu(images) if index else images), train=train)
        return images


class Fusion(nnx.Module):
    """A learnt mean of maps: sum_j relu(w_j) x_j / (sum_j relu(w_j) + 1e-6).

    Attributes:
      weights: w, one for each map; they start at 1.
    """

    def __init__(self, count: int, **settings: Unpack[Settings]) -> None:
        self.weights = nnx.Param(jnp.ones(count, settings.get("param_dtype", jnp.float32)))

    def __call__(self, *images: jax.Array) -> jax.Array:
        """The mean of `count` maps of one shape."""
        weights = relu(self.weights[...].astype(at_least_float32(images[0].dtype)))
        weights = (weights / (weights.sum() + 1e-6)).astype(images[0].dtype)
        return sum(x * weight for x, weight in zip(images, weights, strict=True))


def _repeated(images: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Every pixel four times; a row or column too many, where `shape` is odd, is cut off."""
    repeated = jnp.repeat(jnp.repeat(images, 2, axis=1), 2, axis=2)
    return repeated[:, : shape[1], : shape[2]]


def _pooled(images: jax.Array) -> jax.Array:
    """The maximum of 3x3 pixels with "SAME" padding, which starts at the first pixel if even."""
    height, width = images.shape[1:3]
    return max_pool(images, before=(height % 2, width % 2))
