"""What the rest of the library asks of a backbone."""

from collections.abc import Sequence
from typing import Protocol, Unpack

import jax
from flax import nnx

from skdsam_jax.models.operations import relu
from skdsam_jax.models.settings import Settings


class Backbone(Protocol):
    """What exits ask of a backbone, which is an `nnx.Module`.

    Attributes:
      bottleneck_width: features within a bottleneck head, 128 in an ordinary ResNet.
      channels: features of each stage's output, shallow to deep.
      depths: blocks of each stage.
      reductions: pixels of the input per pixel of each stage, along one side; each twice the last.
      preactivation: whether all stages but the last hand on raw sums, which heads then have to
        normalise and rectify; the last stage is always what the deepest exit pools.
    """

    bottleneck_width: int
    channels: tuple[int, ...]
    depths: tuple[int, ...]
    reductions: tuple[int, ...]
    preactivation: bool

    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """Maps images [batch, height, width, 3] to one feature map per stage."""
        ...

    def branch(
        self, stage: int, depths: Sequence[int] | None = None, **settings: Unpack[Settings]
    ) -> nnx.Module:
        """A fresh copy of the stages after `stage`.

        It begins where the trunk goes on and ends as the trunk does, with BN and ReLU of its own
        where the stages hand on raw sums.

        Args:
          stage: index from 0 of the stage whose output it reads; not the deepest.
          depths: blocks of each stage after it; None: as many as the trunk has.
          **settings: see `Settings`.

        Returns:
          A module that maps a stage's output, `train=...`, to a map like the deepest stage's.

        Raises:
          ValueError: no stage follows, or not one positive depth for each that does.
        """
        ...


def rectified(stages: tuple[jax.Array, ...], *, preactivation: bool) -> tuple[jax.Array, ...]:
    """Stages after a ReLU, for what compares maps without layers of its own.

    Args:
      stages: a backbone's outputs.
      preactivation: the backbone's attribute.

    Returns:
      The stages as they are or, of a backbone that hands on raw sums, the ReLU of all but the
      last, which has one already.
    """
    return (*map(relu, stages[:-1]), stages[-1]) if preactivation else stages
