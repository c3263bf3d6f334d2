"""Random keys as a pure function of (seed, epoch, step): a resumed run is the same run."""

import enum

import jax

# What `jax.random.key` would use by default can be changed from outside. This generator gives
# the same numbers on every platform and for every number of devices.
_GENERATOR = "threefry2x32"


class Stream(enum.IntEnum):
    """Uses of randomness that must not share numbers."""

    ORDER = 0
    AUGMENTATION = 1
    PHOTOGRAPH_CROP = 2


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
