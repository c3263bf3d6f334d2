"""Labelled images as evaluation takes them, wherever they come from."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from skdsam_jax.data.dataset import EncodedSplit, Split
from skdsam_jax.data.pipelines.photograph_crops import central_crops
from skdsam_jax.data.sources.folder import FolderRecords
from skdsam_jax.evaluation.decoding import read_ahead
from skdsam_jax.options import ConfigError
from skdsam_jax.trained import Trained

_MOST_BYTES = 2**28


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Labelled images.

    Attributes:
      labels: int32 [examples].
      read: index -> uint8 [height, width, channels]; called in threads.
      file: index -> the picture's file, as CLASS/NAME; None where the set is no folder of files.
    """

    labels: np.ndarray
    read: Callable[[int], np.ndarray]
    file: Callable[[int], str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """All images in order, uint8 [at most batch_size, height, width, channels]."""
        images = read_ahead(self.read, range(len(self)), ahead=2 * batch_size)
        while batch := list(itertools.islice(images, batch_size)):
            yield np.stack(batch)

    def sample(self, count: int) -> np.ndarray:
        """Some images, evenly spaced, for sets are often in the order of their classes.

        Args:
          count: the most images; fewer where they would take more than a quarter of a GiB.

        Returns:
          uint8 [images, height, width, channels].
        """
        count = max(1, min(count, len(self), _MOST_BYTES // self.read(0).nbytes))
        indices = np.linspace(0, len(self) - 1, count).round().astype(int)
        return np.stack(list(read_ahead(self.read, indices, ahead=count)))

    def changed(self, change: Callable[[np.ndarray, int], np.ndarray]) -> "Examples":
        """The same examples, each image replaced by `change(image, index)`."""
        return dataclasses.replace(self, read=lambda index: change(self.read(index), index))


def examples_of(split: Split | EncodedSplit, side: int) -> Examples:
    """The examples of a data set's split, as its own evaluation sees them.

    Args:
      split: resident images, or encoded ones, of which the central square is taken.
      side: height and width of the network's images in pixels; larger ones are shrunk.
    """
    if isinstance(split, Split):
        if split.image_shape[0] != side:
            split = split.resized(side)
        return Examples(split.labels, split.images.__getitem__, _file_of(split.files))
    files = None
    if isinstance(split.records, FolderRecords):
        places = range(len(split.records)) if split.indices is None else split.indices
        files = [split.records.files[place] for place in places]
    return Examples(
        split.labels,
        lambda index: central_crops(split, np.array([index]))[0][0],
        _file_of(files),
    )


def examples_of_folder(root: pathlib.Path, trained: Trained) -> Examples:
    """The pictures in a folder of class folders, prepared as the network's own were.

    Args:
      root: holds one folder for each class of the network, called as the class is.
      trained: the network.

    Raises:
      ConfigError: no such folder, other classes than the network's, or none has a picture.
    """
    if not root.is_dir():
        raise ConfigError(f"--folder: no such folder: {root}")
    folders = sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    check_class_names([path.name for path in folders], trained.class_names, str(root))
    files, labels = [], []
    for folder in folders:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        files += found
        labels += [trained.class_names.index(folder.name)] * len(found)
    if not files:
        raise ConfigError(f"--folder: {root} has no pictures in its class folders")
    return Examples(
        np.array(labels, np.int32), lambda index: trained.prepare(files[index]), _file_of(files)
    )


def check_class_names(found: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Raises a ConfigError that names what differs, if the classes are not the network's."""
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    if missing or unknown:
        parts = [f"lacks {_some(missing)}"] if missing else []
        parts += [f"has {_some(unknown)}, which the network does not know"] if unknown else []
        raise ConfigError(f"{where}: its classes are not the network's: it {' and '.join(parts)}")


def _file_of(files: Sequence[pathlib.Path] | None) -> Callable[[int], str] | None:
    return None if files is None else lambda index: "/".join(files[index].parts[-2:])


def _some(names: Sequence[str]) -> str:
    """At most three of the names."""
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
