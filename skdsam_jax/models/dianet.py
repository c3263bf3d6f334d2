"""DIANet: residual networks in which one recurrent cell per stage scales every block's branch.

Huang et al., https://arxiv.org/abs/1905.10671 (dense-and-implicit attention). The paper's networks
end in bottlenecks; those of basic blocks are scaled alike.
"""

from collections.abc import Iterable, Sequence
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models.layers import Dense, global_average_pool
from skdsam_jax.models.operations import relu
from skdsam_jax.models.resnet import ResidualBlock, ResNet
from skdsam_jax.models.settings import Settings
from skdsam_jax.options import ConfigError

# Hidden state and cell state, each [batch, features], or [1, features] before the first block.
State = tuple[jax.Array, jax.Array]


class ReducedMap(nnx.Module):
    """W2 relu(W1 v + b1) + b2, from `features` over `inner` to `out_features`."""

    def __init__(
        self, features: int, inner: int, out_features: int, **settings: Unpack[Settings]
    ) -> None:
        self.reduce = Dense(features, inner, **settings)
        self.expand = Dense(inner, out_features, **settings)

    def __call__(self, vectors: jax.Array) -> jax.Array:
        """Maps [batch, features] to [batch, out_features], in at least float32."""
        return self.expand(relu(self.reduce(vectors)))


class DIALSTM(nnx.Module):
    """The cell of a stage, whose hidden state is what scales a branch.

        (i, f, g, o) = from_input(z) + from_hidden(h)
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) sigmoid(c')

    An LSTM but for the sigmoid of c', which keeps h' between 0 and 1, and for maps that narrow to
    features / reduction, rounded down.

    Attributes:
      features: F, of input, hidden state and cell state.
      from_input, from_hidden: F -> 4 F.
    """

    def __init__(self, features: int, *, reduction: int = 4, **settings: Unpack[Settings]) -> None:
        """Creates the cell.

        Raises:
          ConfigError: the reduction leaves no feature.
        """
        inner = features // reduction
        if inner < 1:
            raise ConfigError(
                f"config.model.dia_reduction: takes at most {features}, the features of the "
                f"narrowest stage, not {reduction}"
            )
        self.features = features
        self.from_input = ReducedMap(features, inner, 4 * features, **settings)
        self.from_hidden = ReducedMap(features, inner, 4 * features, **settings)

    def start(self, dtype: jnp.dtype) -> State:
        """The state before the first block: zeros [1, features], alike for all images."""
        return jnp.zeros((1, self.features), dtype), jnp.zeros((1, self.features), dtype)

    def __call__(self, pooled: jax.Array, state: State) -> State:
        """The next state.

        Args:
          pooled: z [batch, features], at least float32.
          state: (h, c); that of `start` is not skipped, since the biases of `from_hidden` count.

        Returns:
          (h', c'), each [batch, features].
        """
        hidden, cell = state
        gates = self.from_input(pooled) + self.from_hidden(hidden)
        write, keep, candidate, read = jnp.split(gates, 4, axis=-1)
        cell = nnx.sigmoid(keep) * cell + nnx.sigmoid(write) * jnp.tanh(candidate)
        return nnx.sigmoid(read) * nnx.sigmoid(cell), cell


class GatedStage(nnx.Module):
    """The blocks of a stage, whose branches their common cell scales.

        z = mean over pixels of branch(x)
        h, c = cell(z, h, c)
        y = relu(h branch(x) + shortcut(x))

    from block to block, beginning with h = c = 0.

    Attributes:
      blocks: of the stage, in order.
      cell: shared by all of them.
    """

    def __init__(self, blocks: Iterable[ResidualBlock], cell: DIALSTM) -> None:
        self.blocks = nnx.List(blocks)
        self.cell = cell

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, in_features] to the last block's shape."""
        state = None
        for block in self.blocks:
            branch, shortcut = block.parts(images, train=train)
            pooled = global_average_pool(branch)
            state = self.cell(pooled, self.cell.start(pooled.dtype) if state is None else state)
            gate = state[0][:, None, None].astype(branch.dtype)
            images = relu(gate * branch + shortcut)
        return images


class DIAResNet(ResNet):
    """A ResNet of gated stages, with the same outputs' shapes.

    Attributes:
      reduction: features of a stage per feature within the maps of its cell.
    """

    def __init__(
        self,
        block: type[ResidualBlock],
        depths: Sequence[int],
        *,
        width: int = 64,
        stem: str = "small",
        dia_reduction: int = 4,
        **settings: Unpack[Settings],
    ) -> None:
        """Creates the network.

        Args:
          block: the kind of block.
          depths: blocks per stage.
          width: filters of the stem; stage s, counted from 0, has blocks 2^s times as wide.
          stem: a name of `stems.STEMS`.
          dia_reduction: features of a stage per feature within the maps of its cell.
          **settings: see `Settings`.

        Raises:
          ConfigError: as `ResNet`, or the reduction leaves a cell no feature.
          ValueError: no stem has that name.
        """
        self.reduction = dia_reduction
        super().__init__(block, depths, width=width, stem=stem, **settings)

    def _blocks(
        self, in_features: int, width: int, depth: int, stride: int, **settings: Unpack[Settings]
    ) -> list[nnx.Module]:
        """The stage as one module, with a cell of its own."""
        blocks = super()._blocks(in_features, width, depth, stride, **settings)
        cell = DIALSTM(self.block.expansion * width, reduction=self.reduction, **settings)
        return [GatedStage(blocks, cell)]
