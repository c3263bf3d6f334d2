"""What every set of images is turned into: arrays, or encoded pictures read when needed."""

import dataclasses
import pathlib
from typing import Protocol

import numpy as np

from skdsam_jax.data.resize import resize
from skdsam_jax.options import ConfigError


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Labelled images.

    Attributes:
      images: uint8 [examples, height, width, channels].
      labels: int32 [examples], each at least 0 and less than the number of classes.
      files: of each example, where they came from files.
    """

    images: np.ndarray
    labels: np.ndarray
    files: tuple[pathlib.Path, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.images.shape[1:]

    def take(self, indices: np.ndarray) -> "Split":
        """The examples at `indices`, in that order."""
        files = None if self.files is None else tuple(self.files[index] for index in indices)
        return Split(self.images[indices], self.labels[indices], files)

    def resized(self, side: int) -> "Split":
        """The examples with square images of `side` pixels."""
        return dataclasses.replace(self, images=resize(self.images, side))


class Records(Protocol):
    """Encoded, labelled pictures on a disk; copies that are sent to other processes are small."""

    @property
    def labels(self) -> np.ndarray:
        """int32 [examples]; may have to read the whole set."""

    def __len__(self) -> int:
        """The number of examples."""

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded picture and the label of an example."""

    def describe(self, index: int) -> str:
        """Says which picture an example is, for an error."""


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedSplit:
    """Labelled pictures of any size that are decoded when they are needed.

    Attributes:
      records: where they are.
      side: height and width in pixels of what is made of them.
      indices: int [examples], which of the records these are; None: all.
    """

    records: Records
    side: int
    indices: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.records if self.indices is None else self.indices)

    @property
    def labels(self) -> np.ndarray:
        """int32 [examples]."""
        labels = self.records.labels
        return labels if self.indices is None else labels[self.indices]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what is made of every picture."""
        return self.side, self.side, 3

    def take(self, indices: np.ndarray) -> "EncodedSplit":
        """The examples at `indices`, in that order."""
        chosen = indices if self.indices is None else self.indices[indices]
        return dataclasses.replace(self, indices=chosen)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images of known classes, split for training and testing.

    Attributes:
      name: what the set is called in `DataOptions.name`.
      class_names: one name per class; label i stands for `class_names[i]`.
      mean: per channel, of pixels scaled to [0, 1].
      std: per channel, of pixels scaled to [0, 1].
      train: what is trained on; its images may be larger than the others', for random-resized
        crops to shrink.
      validation: what choices are made on; None where nothing was cut from the training split.
      test: what results are reported on.
      fingerprint: of a set that somebody made, letters that tell it from another of its name.

    Raises:
      ConfigError: a split is not what `Split` promises, is empty, or differs from the others in
        the size of its images; the message names the set and the split.
    """

    name: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: Split | EncodedSplit
    validation: Split | EncodedSplit | None
    test: Split | EncodedSplit
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            split = getattr(self, name)
            where = f"dataset {self.name}, split {name}"
            if isinstance(split, Split):
                self._check(split, where)
            elif split is not None and len(split) == 0:
                raise ConfigError(f"{where}: has no examples")

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what a network is given."""
        return self.test.image_shape

    def _check(self, split: Split, where: str) -> None:
        images, labels = split.images, split.labels
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ConfigError(
                f"{where}: images must be uint8 [examples, height, width, channels], "
                f"not {images.dtype} {list(images.shape)}"
            )
        if labels.dtype != np.int32 or labels.ndim != 1:
            raise ConfigError(
                f"{where}: labels must be int32 [examples], not {labels.dtype} {list(labels.shape)}"
            )
        if len(images) != len(labels):
            raise ConfigError(f"{where}: {len(images)} images but {len(labels)} labels")
        if len(images) == 0:
            raise ConfigError(f"{where}: has no examples")
        train = self.train.image_shape
        too_large = any(side > limit for side, limit in zip(images.shape[1:], train, strict=True))
        if too_large or (split is not self.train and images.shape[1:] != self.image_shape):
            raise ConfigError(
                f"{where}: images are {list(images.shape[1:])}, "
                f"those of the training split {list(train)}"
            )
        if len(self.mean) != images.shape[3] or len(self.std) != images.shape[3]:
            raise ConfigError(
                f"{where}: {images.shape[3]} channels, but statistics of {len(self.mean)}"
            )
        outside = np.flatnonzero((labels < 0) | (labels >= self.num_classes))
        if outside.size:
            raise ConfigError(
                f"{where}: label {labels[outside[0]]} of example {outside[0]} is outside the "
                f"{self.num_classes} classes (0 to {self.num_classes - 1})"
            )
