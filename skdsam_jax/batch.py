"""What a training step is given: a batch, and the moment at which it is trained on.

Data makes batches and methods read them; neither imports the other, both import this.

A method may read several examples for each one it is trained on (see `reads.Reads`). The batch
holds the V reads of an anchor side by side, so that a batch that is split over devices keeps them
together: row b V + v is read v of anchor b, and read 0 is the anchor itself.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Moment(NamedTuple):
    """Where in its run a step stands.

    Attributes:
      epoch: counted from 0.
      epochs: of the whole run.
      step: counted from 0, over the whole run.
      steps: of the whole run.
      epoch_step: counted from 0 within the epoch.
      key: for whatever a method draws in this step; no other randomness uses it.
    """

    epoch: jax.Array
    epochs: int
    step: jax.Array
    steps: int
    epoch_step: jax.Array
    key: jax.Array


class Batch(NamedTuple):
    """What a network is given: B anchors with V reads each; usually V = 1.

    Attributes:
      images: normalised, floating [B V, height, width, channels].
      labels: int32 [B V], or after Mixup, CutMix or label smoothing float32 probabilities
        [B V, classes].
      indices: int32 [B V], which examples of the split these are.
      moment: when a step trains on them; None in evaluation.
    """

    images: jax.Array
    labels: jax.Array
    indices: jax.Array
    moment: Moment | None = None


def split_reads(values: jax.Array, count: int) -> tuple[jax.Array, ...]:
    """Takes the reads of a batch apart.

    >>> [part.tolist() for part in split_reads(jnp.arange(6), 2)]
    [[0, 2, 4], [1, 3, 5]]

    Args:
      values: [B V, ...], the reads of an anchor side by side.
      count: V.

    Returns:
      V arrays [B, ...], the first of the anchors.
    """
    apart = values.reshape(-1, count, *values.shape[1:])
    return tuple(apart[:, read] for read in range(count))


def join_reads(*parts: jax.Array) -> jax.Array:
    """The inverse of `split_reads`: several arrays [B, ...] as one [B V, ...], side by side."""
    first, *_ = parts
    together = jnp.stack(parts, axis=1)
    return together.reshape(len(parts) * first.shape[0], *first.shape[1:])
