"""In which order examples are read: the one place that decides it, for every pipeline."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.data.pipelines.keys import Stream, stream_key
from skdsam_jax.options import ConfigError
from skdsam_jax.reads import Reads, once


# Without `eq`, which arrays do not have, it is hashed by identity.
@dataclasses.dataclass(frozen=True, eq=False)
class ReadingOrder:
    """Which examples each step of a run reads, as a pure function of the seed; picklable.

    Attributes:
      seed: of the run.
      examples: in the training split.
      batch_size: B, anchors per step.
      reads: what is read beside each of them.
      labels: int32 [examples], of the split; None unless `reads` needs them.

    Raises:
      ValueError: there are no labels and `reads` needs them.
      ConfigError: the batch is larger than the split, or `reads` cannot read it.
    """

    seed: int
    examples: int
    batch_size: int
    reads: Reads = once
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.batch_size > self.examples:
            raise ConfigError(
                f"config.training.batch_size: takes at most the {self.examples} training "
                f"examples, not {self.batch_size}"
            )
        if self.reads.needs_labels and self.labels is None:
            raise ValueError(f"labels: {self.reads} needs those of the training split")
        self.reads.check(self.labels)

    @property
    def steps(self) -> int:
        """Steps per epoch; the permutation's tail is dropped."""
        return self.examples // self.batch_size

    @property
    def images_per_batch(self) -> int:
        """B V, the images that are made for a step."""
        return self.batch_size * self.reads.count

    def epoch(self, epoch: int) -> jax.Array:
        """int32 [steps, B, V]: the examples that every step of an epoch reads."""
        return _epoch(
            np.uint32(self.seed),
            epoch,
            self.labels,
            examples=self.examples,
            batch_size=self.batch_size,
            reads=self.reads,
        )


@functools.partial(jax.jit, static_argnames=("examples", "batch_size", "reads"))
def _epoch(
    seed: jax.Array,
    epoch: int | jax.Array,
    labels: jax.Array | None,
    *,
    examples: int,
    batch_size: int,
    reads: Reads,
) -> jax.Array:
    anchors = _permutation(seed, epoch, examples, batch_size)
    before = _permutation(seed, jnp.maximum(epoch - 1, 0), examples, batch_size)
    previous = jnp.where(epoch > 0, before[-1], anchors[0])
    return reads(anchors, previous, labels, stream_key(seed, Stream.READS, epoch))


def _permutation(
    seed: jax.Array, epoch: int | jax.Array, examples: int, batch_size: int
) -> jax.Array:
    """int32 [steps, batch_size]: a random permutation of the examples without its tail."""
    steps = examples // batch_size
    order = jax.random.permutation(
        stream_key(seed, Stream.ORDER, epoch), jnp.arange(examples, dtype=jnp.int32)
    )
    return order[: steps * batch_size].reshape(steps, batch_size)


def evaluation_order(num_examples: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a whole split into batches of one size, the last one padded.

    Args:
      num_examples: in the split.
      batch_size: examples per batch; may be more than there are.

    Returns:
      int32 [batches, batch_size], every example once and in order, then zeros as padding; and
      bool of the same shape, False where an entry is padding and must not be counted.
    """
    batches = -(-num_examples // batch_size)
    indices = np.arange(batches * batch_size, dtype=np.int32)
    mask = indices < num_examples
    shape = (batches, batch_size)
    return np.where(mask, indices, np.int32(0)).reshape(shape), mask.reshape(shape)
