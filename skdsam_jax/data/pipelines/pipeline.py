"""Two ways for a split to reach the devices, behind one interface."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Protocol

import jax

from skdsam_jax.data.dataset import EncodedSplit, Split
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.pipelines.resident import Resident, place


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


def create_pipeline(
    split: Split | EncodedSplit,
    *,
    batch_size: int,
    seed: int | None,
    mesh: jax.sharding.Mesh,
    workers: int | None,
) -> Pipeline:
    """The pipeline for a split; nothing is decoded yet.

    Args:
      split: arrays become resident, encoded pictures are streamed.
      batch_size: images per batch, over all devices.
      seed: of a run that trains on the split; None: the split is evaluated.
      mesh: the devices, with an axis "data".
      workers: as in `streaming.Streaming`.

    Returns:
      The pipeline.
    """
    if isinstance(split, Split):
        return ResidentPipeline(split, jax.sharding.NamedSharding(mesh, jax.P()))
    # Grain takes most of a second to import, and resident data does without.
    from skdsam_jax.data.pipelines.photograph_crops import EvaluationViews, TrainingViews
    from skdsam_jax.data.pipelines.streaming import Streaming

    if seed is None:
        views = EvaluationViews(split, batch_size)
    else:
        views = TrainingViews(split, batch_size, seed)
    return Streaming(views, jax.sharding.NamedSharding(mesh, jax.P("data")), workers)


def left_for_the_device(options: DataOptions) -> DataOptions:
    """How the device distorts images: streamed ones were cropped when they were decoded."""
    if options.pipeline == "resident":
        return options
    return dataclasses.replace(options, pipeline="resident", crop="padded", crop_padding=0)
