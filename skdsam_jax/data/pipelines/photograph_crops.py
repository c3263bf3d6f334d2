"""What is made of each photograph of a batch: a pure function of (seed, epoch, example).

It runs in worker processes, whose JAX must stay on the CPU.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.data.dataset import EncodedSplit
from skdsam_jax.data.pictures import PictureError, central_box, crop, open_picture, random_box
from skdsam_jax.data.pipelines.keys import Stream, stream_key
from skdsam_jax.data.pipelines.resident import epoch_order, evaluation_order
from skdsam_jax.options import ConfigError

# As torchvision's RandomResizedCrop.
_ATTEMPTS = 10

# Of the shorter side: resized to 256, the central 224 are looked at.
_CENTRAL_SHARE = 224 / 256


@dataclasses.dataclass(frozen=True)
class TrainingViews:
    """Random crops, in the order of `resident.epoch_order`.

    Attributes:
      split: the photographs.
      batch_size: examples per step.
      seed: of the run.
    """

    split: EncodedSplit
    batch_size: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return len(self.split) // self.batch_size

    def indices(self, epoch: int, step: int) -> np.ndarray:
        """int32 [batch]: the examples of a step."""
        return _epoch_order(self.seed, epoch, len(self.split), self.batch_size)[step]

    def following(self, epoch: int, step: int) -> tuple[int, int]:
        """The epoch and the step that are asked for next."""
        return (epoch, step + 1) if step + 1 < self.steps else (epoch + 1, 0)

    def make(self, epoch: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decodes examples as an epoch sees them.

        Args:
          epoch: counted from 0.
          indices: int [examples] into the split.

        Returns:
          uint8 [examples, side, side, 3] and int32 [examples].

        Raises:
          ConfigError: a picture is damaged; the message names it.
        """
        uniforms = np.asarray(_uniforms(self.seed, epoch, indices))
        boxes = [functools.partial(random_box, uniforms=drawn) for drawn in uniforms]
        return _make(self.split, indices, boxes)


@dataclasses.dataclass(frozen=True)
class EvaluationViews:
    """Central squares, 224/256 of the shorter side, in the order of `resident.evaluation_order`.

    Attributes:
      split: the photographs.
      batch_size: examples per step.
    """

    split: EncodedSplit
    batch_size: int

    @property
    def steps(self) -> int:
        """Batches that hold the whole split; the last one may be padded with its first example."""
        return -(-len(self.split) // self.batch_size)

    def indices(self, epoch: int, step: int) -> np.ndarray:
        """int32 [batch]: the examples of a batch, the same in every epoch."""
        return evaluation_order(len(self.split), self.batch_size)[0][step]

    def following(self, epoch: int, step: int) -> tuple[int, int]:
        """The epoch and the step that are asked for next: the split is evaluated again."""
        return epoch, (step + 1) % self.steps

    def make(self, epoch: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `TrainingViews.make`."""
        boxes = [functools.partial(central_box, share=_CENTRAL_SHARE)] * len(indices)
        return _make(self.split, indices, boxes)


def _make(split: EncodedSplit, indices: np.ndarray, boxes: list) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(indices), *split.image_shape), np.uint8)
    labels = np.empty(len(indices), np.int32)
    for place, (index, box) in enumerate(zip(indices, boxes, strict=True)):
        if place and index == indices[place - 1]:  # The padding of an evaluated batch.
            images[place], labels[place] = images[place - 1], labels[place - 1]
            continue
        record = int(index if split.indices is None else split.indices[index])
        encoded, labels[place] = split.records.read(record)
        try:
            picture = open_picture(encoded)
            images[place] = crop(picture, box(picture.size), split.side)
        except PictureError as error:
            raise ConfigError(f"{split.records.describe(record)} {error}") from error
    return images, labels


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, examples: int, batch_size: int) -> np.ndarray:
    return np.asarray(epoch_order(np.uint32(seed), epoch, examples, batch_size))


@jax.jit
def _uniforms(seed: jax.Array, epoch: jax.Array, indices: jax.Array) -> jax.Array:
    """float32 [examples, attempts, 4] in [0, 1), of each example alone."""

    def draw(index: jax.Array) -> jax.Array:
        key = stream_key(seed, Stream.PHOTOGRAPH_CROP, epoch, index)
        return jax.random.uniform(key, (_ATTEMPTS, 4), jnp.float32)

    return jax.vmap(draw)(indices)
