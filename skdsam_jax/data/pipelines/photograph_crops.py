"""What is made of each photograph of a batch: a pure function of (seed, epoch, step, place).

Two reads of one photograph in a batch stand in two places and so become two crops. This runs in
worker processes, whose JAX must stay on the CPU.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.data.dataset import EncodedSplit
from skdsam_jax.data.pictures import (
    CENTRAL_SHARE,
    Box,
    PictureError,
    central_box,
    crop,
    open_picture,
    random_box,
)
from skdsam_jax.data.pipelines.keys import Stream, stream_key
from skdsam_jax.data.pipelines.order import ReadingOrder, evaluation_order
from skdsam_jax.options import ConfigError

# As torchvision's RandomResizedCrop.
_ATTEMPTS = 10


@dataclasses.dataclass(frozen=True)
class RandomCrops:
    """What training sees: `random_crops`.

    Attributes:
      split: the photographs.
      order: which of them each step reads.
    """

    split: EncodedSplit
    order: ReadingOrder

    @property
    def batch_size(self) -> int:
        """Images per step, every read of every anchor."""
        return self.order.images_per_batch

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.order.steps

    def indices(self, epoch: int, step: int) -> np.ndarray:
        """int32 [batch]: the examples of a step."""
        return _epoch_rows(self.order, epoch)[step].reshape(-1)

    def following(self, epoch: int, step: int) -> tuple[int, int]:
        """The epoch and the step that are asked for next."""
        return (epoch, step + 1) if step + 1 < self.steps else (epoch + 1, 0)

    def make(self, epoch: int, step: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decodes a part of a batch.

        Args:
          epoch: counted from 0.
          step: counted from 0 in the epoch.
          places: int [part], which of the batch.

        Returns:
          Images uint8 [part, side, side, 3] and labels int32 [part].

        Raises:
          ConfigError: a picture is damaged; the message names it.
        """
        indices = self.indices(epoch, step)[places]
        return random_crops(
            self.split, indices, places, seed=self.order.seed, epoch=epoch, step=step
        )


@dataclasses.dataclass(frozen=True)
class CentralCrops:
    """What evaluation sees: `central_crops`, in the order of `order.evaluation_order`.

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

    def make(self, epoch: int, step: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `RandomCrops.make`."""
        return central_crops(self.split, self.indices(epoch, step)[places])


def random_crops(
    split: EncodedSplit,
    indices: np.ndarray,
    places: np.ndarray,
    *,
    seed: int,
    epoch: int,
    step: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Photographs as training sees them, each cut to its `pictures.random_box`.

    Args:
      split: the photographs.
      indices: int [part], which of them.
      places: int [part], where in the batch each stands, which decides its crop.
      seed: of the run.
      epoch: counted from 0.
      step: counted from 0 in the epoch.

    Returns:
      Images uint8 [part, side, side, 3] and labels int32 [part].

    Raises:
      ConfigError: a picture is damaged; the message names it.
    """
    uniforms = np.asarray(_uniforms(np.uint32(seed), epoch, step, places))
    boxes = [functools.partial(random_box, uniforms=drawn) for drawn in uniforms]
    return _decode(split, indices, boxes)


def central_crops(split: EncodedSplit, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Photographs as evaluation sees them: central squares, 224/256 of the shorter side.

    Args:
      split: the photographs.
      indices: int [part], which of them; one that repeats, as padding does, is decoded once.

    Returns:
      As `random_crops`.

    Raises:
      ConfigError: a picture is damaged; the message names it.
    """
    different, where = np.unique(indices, return_inverse=True)
    boxes = [functools.partial(central_box, share=CENTRAL_SHARE)] * len(different)
    images, labels = _decode(split, different, boxes)
    return images[where], labels[where]


def _decode(
    split: EncodedSplit, indices: np.ndarray, boxes: Sequence[Callable[[tuple[int, int]], Box]]
) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(indices), *split.image_shape), np.uint8)
    labels = np.empty(len(indices), np.int32)
    for place, (index, box) in enumerate(zip(indices, boxes, strict=True)):
        record = int(index if split.indices is None else split.indices[index])
        encoded, labels[place] = split.records.read(record)
        try:
            picture = open_picture(encoded)
            images[place] = crop(picture, box(picture.size), split.side)
        except PictureError as error:
            raise ConfigError(f"{split.records.describe(record)} {error}") from error
    return images, labels


# Worker processes make one step after another, a part at a time, at most two epochs at once.
@functools.lru_cache(maxsize=2)
def _epoch_rows(order: ReadingOrder, epoch: int) -> np.ndarray:
    return np.asarray(order.epoch(epoch))


@jax.jit
def _uniforms(seed: jax.Array, epoch: jax.Array, step: jax.Array, places: jax.Array) -> jax.Array:
    """float32 [part, attempts, 4] in [0, 1), of each place of a batch by itself."""
    batch_key = stream_key(seed, Stream.PHOTOGRAPH_CROP, epoch, step)

    def draw(place: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(batch_key, place), (_ATTEMPTS, 4), jnp.float32)

    return jax.vmap(draw)(places)
