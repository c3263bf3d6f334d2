"""Two ways for a split to reach the devices, behind one interface."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import jax

from skdsam_jax.data.dataset import EncodedSplit, Split
from skdsam_jax.data.pipelines.order import ReadingOrder
from skdsam_jax.data.pipelines.resident import Resident, place

if TYPE_CHECKING:
    from skdsam_jax.data.pipelines.photograph_crops import CentralCrops, RandomCrops
    from skdsam_jax.data.pipelines.streaming import Streaming


class Pipeline(Protocol):
    """A split, as the compiled steps take it.

    Attributes:
      abstract: shapes and types of what `batches` yields.
    """

    abstract: Resident

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Resident]:
        """For each step of an epoch, from `first_step` on, the data of which it makes its batch."""

    def close(self) -> None:
        """Lets go of what the pipeline holds besides memory."""


class ResidentPipeline:
    """The whole split on every device; each step gathers its batch there."""

    def __init__(self, split: Split, sharding: jax.sharding.Sharding) -> None:
        """Copies the split to the devices of `sharding`."""
        self._data = place(split, sharding)
        self.abstract = self._data

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Resident]:
        """Yields the same data for ever: the step itself says which batch it is."""
        return itertools.repeat(self._data)

    def close(self) -> None:
        """There is nothing to close."""


def training_pipeline(
    split: Split | EncodedSplit,
    order: ReadingOrder,
    *,
    mesh: jax.sharding.Mesh,
    workers: int | None,
) -> Pipeline:
    """The pipeline for a split that is trained on; nothing is decoded yet.

    Args:
      split: arrays become resident, encoded pictures are streamed as random crops.
      order: which examples each step reads.
      mesh: the devices, with an axis "data".
      workers: as in `streaming.Streaming`.

    Returns:
      The pipeline.
    """
    if isinstance(split, Split):
        return _resident(split, mesh)
    # Grain takes most of a second to import, and resident data does without.
    from skdsam_jax.data.pipelines.photograph_crops import RandomCrops

    return _streaming(RandomCrops(split, order), mesh, workers)


def evaluation_pipeline(
    split: Split | EncodedSplit,
    batch_size: int,
    *,
    mesh: jax.sharding.Mesh,
    workers: int | None,
) -> Pipeline:
    """The pipeline for a split that is evaluated, whole and in order; nothing is decoded yet.

    Args:
      split: arrays become resident, encoded pictures are streamed as central crops.
      batch_size: images per batch, over all devices.
      mesh: the devices, with an axis "data".
      workers: as in `streaming.Streaming`.

    Returns:
      The pipeline.
    """
    if isinstance(split, Split):
        return _resident(split, mesh)
    from skdsam_jax.data.pipelines.photograph_crops import CentralCrops

    return _streaming(CentralCrops(split, batch_size), mesh, workers)


def _resident(split: Split, mesh: jax.sharding.Mesh) -> ResidentPipeline:
    return ResidentPipeline(split, jax.sharding.NamedSharding(mesh, jax.P()))


def _streaming(
    crops: "RandomCrops | CentralCrops", mesh: jax.sharding.Mesh, workers: int | None
) -> "Streaming":
    from skdsam_jax.data.pipelines.streaming import Streaming

    return Streaming(crops, jax.sharding.NamedSharding(mesh, jax.P("data")), workers)
