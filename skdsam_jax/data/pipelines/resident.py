"""Data that lives on the device: uint8 images, gathered and distorted inside the jitted step.

What a step sees is a pure function of (seed, epoch, step). The functions here may be called under
`jax.jit` with traced epoch and step; `Resident` arrays may be replicated over a mesh while the
indices are sharded over its "data" axis: each device then makes its own part of the batch, and the
batch is the same for any number of devices.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.data.augmentation import augment
from skdsam_jax.data.augmentation.distort import distort
from skdsam_jax.data.dataset import Split
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.pipelines.keys import Stream, stream_key
from skdsam_jax.options import ConfigError


class Resident(NamedTuple):
    """A split on the device.

    Attributes:
      images: uint8 [examples, height, width, channels].
      labels: int32 [examples].
    """

    images: jax.Array
    labels: jax.Array


class Batch(NamedTuple):
    """What a network is given.

    Attributes:
      images: normalised, floating [batch, height, width, channels].
      labels: int32 [batch], or after Mixup float32 probabilities [batch, classes].
      indices: int32 [batch], which examples of the split these are.
    """

    images: jax.Array
    labels: jax.Array
    indices: jax.Array


def place(split: Split, sharding: jax.sharding.Sharding | None = None) -> Resident:
    """Copies a split to the device, or to all devices of `sharding`."""
    return Resident(*jax.device_put((split.images, split.labels), sharding))


@functools.partial(jax.jit, static_argnames=("num_examples", "batch_size"))
def epoch_order(
    seed: int | jax.Array, epoch: int | jax.Array, num_examples: int, batch_size: int
) -> jax.Array:
    """Decides which examples each step of an epoch sees.

    Args:
      seed: of the run.
      epoch: counted from 0.
      num_examples: in the training split.
      batch_size: examples per step.

    Returns:
      int32 [floor(num_examples / batch_size), batch_size]: a random permutation of the examples
      without its tail.

    Raises:
      ConfigError: the batch is larger than the split.
    """
    if batch_size > num_examples:
        raise ConfigError(
            f"config.training.batch_size: takes at most the {num_examples} training examples, "
            f"not {batch_size}"
        )
    steps = num_examples // batch_size
    examples = jnp.arange(num_examples, dtype=jnp.int32)
    order = jax.random.permutation(stream_key(seed, Stream.ORDER, epoch), examples)
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


def training_batch(
    data: Resident,
    indices: jax.Array,
    *,
    seed: int | jax.Array,
    epoch: int | jax.Array,
    step: int | jax.Array,
    options: DataOptions,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    num_classes: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Batch:
    """Makes one step's batch: gathers examples and distorts them.

    Args:
      data: the training split.
      indices: int32 [batch], a row of `epoch_order`.
      seed: of the run.
      epoch: counted from 0.
      step: within the epoch, counted from 0.
      options: how the images are distorted, see `distort`.
      size: height and width of what the network is given, as in `distort`.
      mean: as in `augment.normalize`.
      std: as in `augment.normalize`.
      num_classes: the number of classes.
      dtype: floating type of the images.

    Returns:
      The batch.
    """
    images, labels = distort(
        data.images[indices],
        data.labels[indices],
        key=stream_key(seed, Stream.AUGMENTATION, epoch, step),
        options=options,
        size=size,
        mean=mean,
        std=std,
        num_classes=num_classes,
        dtype=dtype,
    )
    return Batch(images, labels, indices)


def evaluation_batch(
    data: Resident,
    indices: jax.Array,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Batch:
    """Makes one batch of undistorted images.

    Args:
      data: the split.
      indices: int32 [batch], a row of `evaluation_order`.
      mean: as in `augment.normalize`.
      std: as in `augment.normalize`.
      dtype: floating type of the images.

    Returns:
      The batch; entries that are padding hold a copy of example 0.
    """
    images = augment.normalize(data.images[indices], mean, std, dtype)
    return Batch(images, data.labels[indices], indices)
