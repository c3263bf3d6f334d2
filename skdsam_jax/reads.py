"""Which examples a step reads for each that it is trained on: a pure function of the method.

A method says by one of the values below what stands beside each anchor of a batch; the data
pipelines ask no more of it, and give every read an augmentation of its own. The reads of a whole
epoch are decided at once.
"""

import dataclasses
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.options import ConfigError


class Reads(Protocol):
    """Which examples are read.

    A value: hashable, equal to another that reads the same, and picklable, since compiled functions
    are kept for it and worker processes need it too.

    Attributes:
      count: V, reads for each anchor, the anchor included.
      needs_labels: whether the labels of the whole set decide.
    """

    count: int
    needs_labels: ClassVar[bool] = False

    def __call__(
        self, anchors: jax.Array, previous: jax.Array, labels: jax.Array | None, key: jax.Array
    ) -> jax.Array:
        """The examples that every step of an epoch reads.

        Args:
          anchors: int32 [steps, B], what the steps are trained on.
          previous: int32 [B], the anchors of the step before the first: those of the previous
            epoch's last step, or in a run's first epoch the first step's own.
          labels: int32 [examples] of the set; None unless `needs_labels`.
          key: decides what is random.

        Returns:
          int32 [steps, B, V], the anchors at V = 0.
        """
        ...

    def check(self, labels: np.ndarray | None) -> None:
        """Raises a ConfigError where a set with these labels cannot be read like this."""


@dataclasses.dataclass(frozen=True)
class _Repeated(Reads):
    """The anchor itself, `count` times."""

    count: int

    def __call__(
        self, anchors: jax.Array, previous: jax.Array, labels: jax.Array | None, key: jax.Array
    ) -> jax.Array:
        return jnp.stack([anchors] * self.count, axis=-1)


@dataclasses.dataclass(frozen=True)
class _WithPrevious(Reads):
    """The anchor, and the anchor that stood in its place one step ago."""

    count: ClassVar[int] = 2

    def __call__(
        self, anchors: jax.Array, previous: jax.Array, labels: jax.Array | None, key: jax.Array
    ) -> jax.Array:
        before = jnp.concatenate([previous[None], anchors[:-1]])
        return jnp.stack([anchors, before], axis=-1)


@dataclasses.dataclass(frozen=True)
class _WithCompanions(Reads):
    """The anchor, and others of its class drawn without replacement."""

    companions: int
    include_self: bool
    needs_labels: ClassVar[bool] = True

    @property
    def count(self) -> int:
        return 1 + self.companions

    def __call__(
        self, anchors: jax.Array, previous: jax.Array, labels: jax.Array | None, key: jax.Array
    ) -> jax.Array:
        # `members` holds class after class; that of example i is members[first[i] : end[i]].
        members = jnp.argsort(labels, stable=True).astype(jnp.int32)
        place = jnp.zeros_like(members).at[members].set(jnp.arange(len(labels), dtype=jnp.int32))
        first, end = (
            jnp.searchsorted(labels[members], labels, side).astype(jnp.int32)
            for side in ("left", "right")
        )
        taken = [] if self.include_self else [place[anchors]]
        for draw in range(self.companions):
            # One of the places that are left, counted from the first without those taken.
            draw_key = jax.random.fold_in(key, draw)
            left = (end - first)[anchors] - len(taken)
            chosen = jax.random.randint(draw_key, anchors.shape, 0, left, jnp.int32)
            chosen += first[anchors]
            for other in jnp.sort(jnp.stack(taken), axis=0) if taken else ():
                chosen += (chosen >= other).astype(jnp.int32)
            taken.append(chosen)
        companions = taken[len(taken) - self.companions :]
        return jnp.stack([anchors, *(members[places] for places in companions)], axis=-1)

    def check(self, labels: np.ndarray | None) -> None:
        """The least class must hold all companions, and the anchor if it is none of them."""
        classes, counts = np.unique(labels, return_counts=True)
        needed = self.companions + (not self.include_self)
        if counts.min() < needed:
            raise ConfigError(
                f"config.method: {self.companions} companions of each image take {needed} or more "
                f"training images of each class; class {classes[counts.argmin()]} has "
                f"{counts.min()}"
            )


once: Reads = _Repeated(1)
"""Each example alone: what most methods read."""

twice: Reads = _Repeated(2)
"""Each example twice, in two augmentations."""

with_previous: Reads = _WithPrevious()
"""Each example, and the one that stood in its place in the step before, augmented anew."""


def with_companions(count: int, include_self: bool) -> Reads:
    """Each example, and others of its class, drawn uniformly and without replacement.

    Args:
      count: how many beside the anchor, at least 1.
      include_self: whether the anchor itself, augmented anew, may be among them.

    Returns:
      What to read; its `check` refuses a set with a class that has too few examples.

    Raises:
      ValueError: `count` is less than 1.
    """
    if count < 1:
        raise ValueError(f"count: takes at least 1 companion, not {count}")
    return _WithCompanions(count, include_self)
