"""Branches: fresh copies of the stages that a network still has ahead of one of its stages."""

from collections.abc import Callable, Iterable, Sequence

import jax
from flax import nnx

from skdsam_jax.models.layers import BatchNorm
from skdsam_jax.models.operations import relu

# Blocks of each stage to come, in the trunk -> in a branch.
Depths = Callable[[tuple[int, ...]], tuple[int, ...]]


class Branch(nnx.Module):
    """What `Backbone.branch` returns: layers and, after raw sums, BN and ReLU.

    Attributes:
      layers: modules from images to images, in order.
      norm: the normalisation before the last ReLU, or None.
    """

    def __init__(self, layers: Iterable[nnx.Module], norm: BatchNorm | None = None) -> None:
        self.layers = nnx.List(layers)
        self.norm = norm

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps a stage's output [batch, height, width, features] to one like the deepest's."""
        for layer in self.layers:
            images = layer(images, train=train)
        return images if self.norm is None else relu(self.norm(images, train=train))


def whole_stages(depths: tuple[int, ...]) -> tuple[int, ...]:
    """As many blocks as the trunk has; MixSKD's."""
    return depths


def one_block_each(depths: tuple[int, ...]) -> tuple[int, ...]:
    """One block for each stage to come; MSD's."""
    return (1,) * len(depths)


def last_stage_whole(depths: tuple[int, ...]) -> tuple[int, ...]:
    """One block for each stage between, then the whole deepest stage; DKS's."""
    return (*one_block_each(depths[:-1]), depths[-1])


def depths_to_come(
    trunk: tuple[int, ...], stage: int, depths: Sequence[int] | None
) -> tuple[int, ...]:
    """Blocks of each stage after `stage`: `depths`, or the trunk's own if None.

    Raises:
      ValueError: no stage follows, or `depths` are not one positive number for each that does.
    """
    if not 0 <= stage < len(trunk) - 1:
        raise ValueError(f"stage: takes 0 to {len(trunk) - 2}, not {stage}")
    ahead = trunk[stage + 1 :]
    if depths is None:
        return ahead
    if len(depths) != len(ahead) or min(depths) < 1:
        raise ValueError(
            f"depths: takes a positive number for each stage after {stage}, {len(ahead)} in all, "
            f"not {tuple(depths)}"
        )
    return tuple(depths)
