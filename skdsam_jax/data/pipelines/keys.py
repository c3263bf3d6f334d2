"""Random keys as a pure function of (seed, epoch, step): a resumed run is the same run."""

import enum

import jax
import jax.numpy as jnp

from skdsam_jax.batch import Moment

# What `jax.random.key` would use by default can be changed from outside. This generator gives
# the same numbers on every platform and for every number of devices.
_GENERATOR = "threefry2x32"


class Stream(enum.IntEnum):
    """Uses of randomness that must not share numbers."""

    ORDER = 0
    AUGMENTATION = 1
    PHOTOGRAPH_CROP = 2
    READS = 3
    METHOD = 4


def stream_key(
    seed: int | jax.Array, stream: int, epoch: int | jax.Array, step: int | jax.Array = 0
) -> jax.Array:
    """Derives the key of one use of randomness at one step.

    Args:
      seed: of the run.
      stream: which use, such as one of `Stream`.
      epoch: counted from 0.
      step: within the epoch, counted from 0.

    Returns:
      fold_in(fold_in(fold_in(key(seed), stream), epoch), step), a scalar key.
    """
    key = jax.random.key(seed, impl=_GENERATOR)
    for number in (int(stream), epoch, step):
        key = jax.random.fold_in(key, number)
    return key


def moment_of(
    seed: int | jax.Array, step: int | jax.Array, *, steps_per_epoch: int, epochs: int
) -> Moment:
    """Where in a run its step number `step` stands, counted from 0."""
    epoch, epoch_step = jnp.divmod(step, steps_per_epoch)
    key = stream_key(seed, Stream.METHOD, epoch, epoch_step)
    return Moment(epoch, epochs, step, epochs * steps_per_epoch, epoch_step, key)
