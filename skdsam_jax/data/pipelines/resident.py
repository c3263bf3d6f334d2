"""Data that lives on the device: uint8 images, gathered and distorted inside the jitted step.

What a step sees is a pure function of (seed, epoch, step). The functions here may be called under
`jax.jit` with traced epoch and step; `Resident` arrays may be replicated over a mesh while the
indices are sharded over its "data" axis: each device then makes its own part of the batch, and the
batch is the same for any number of devices.
"""

import dataclasses
from typing import NamedTuple

import jax

from skdsam_jax.batch import Batch, Moment
from skdsam_jax.data.augmentation import augment
from skdsam_jax.data.augmentation.distort import Look, distort
from skdsam_jax.data.dataset import Split
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.pipelines.keys import Stream, stream_key


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ResidentImages:
    """Images on the device, each in a row of its own; an index [batch] gives images.

    A TPU keeps the pixels of four axes in an order from which no image can be gathered, so that
    every call would first copy the whole set.

    Attributes:
      rows: uint8 [examples, height * width * channels].
      image_shape: height, width and channels.
    """

    rows: jax.Array
    image_shape: tuple[int, int, int] = dataclasses.field(metadata={"static": True})

    def __getitem__(self, indices: jax.Array) -> jax.Array:
        return self.rows[indices].reshape(-1, *self.image_shape)


class Resident(NamedTuple):
    """A split on the device.

    Attributes:
      images: uint8 [examples, height, width, channels], or what gives them for an index.
      labels: int32 [examples].
    """

    images: jax.Array | ResidentImages
    labels: jax.Array


def place(split: Split, sharding: jax.sharding.Sharding | None = None) -> Resident:
    """Copies a split to the device, or to all devices of `sharding`."""
    rows = split.images.reshape(len(split), -1)
    rows, labels = jax.device_put((rows, split.labels), sharding)
    return Resident(ResidentImages(rows, split.image_shape), labels)


def training_batch(
    data: Resident,
    rows: jax.Array,
    moment: Moment,
    *,
    seed: int | jax.Array,
    options: DataOptions,
    look: Look,
    cropped: bool = False,
) -> Batch:
    """Makes one step's batch: gathers examples and distorts them.

    Args:
      data: the training split.
      rows: int32 [B, V], what a step reads; of `order.ReadingOrder`.
      moment: the step's.
      seed: of the run.
      options: how the images are distorted, see `distort`.
      look: what a network is given.
      cropped: whether the images were cropped when they were decoded.

    Returns:
      The batch, the V reads of an anchor side by side.
    """
    reads = rows.shape[1]
    indices = rows.reshape(-1)
    images, labels = distort(
        data.images[indices],
        data.labels[indices],
        key=stream_key(seed, Stream.AUGMENTATION, moment.epoch, moment.epoch_step),
        options=options,
        look=look,
        reads=reads,
        cropped=cropped,
    )
    return Batch(images, labels, indices, moment)


def evaluation_batch(data: Resident, indices: jax.Array, look: Look) -> Batch:
    """Makes one batch of undistorted images.

    Args:
      data: the split.
      indices: int32 [batch], a row of `order.evaluation_order`.
      look: what a network is given.

    Returns:
      The batch; entries that are padding hold a copy of example 0.
    """
    images = augment.normalize(data.images[indices], look.mean, look.std, look.dtype)
    return Batch(images, data.labels[indices], indices)
