"""The records of a set that TFDS has prepared, read without TensorFlow."""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from skdsam_jax.data.sources.cache import load_or_make
from skdsam_jax.data.sources.prepared_folders import fingerprint, split_sizes
from skdsam_jax.options import ConfigError

# One by one, records take half as long again to read.
_READ_AT_ONCE = 1000


class PreparedRecords:
    """The encoded pictures and labels of one split; see `dataset.Records`.

    A copy for another process takes the two names along and opens the files there.
    """

    def __init__(self, folder: pathlib.Path, split: str) -> None:
        """Names the split; only its size is looked up.

        Args:
          folder: of a version of a set, prepared as `array_record`.
          split: what TFDS calls it.

        Raises:
          ConfigError: the set has no such split.
        """
        self._folder, self._split = folder, split
        sizes = split_sizes(folder)
        if split not in sizes:
            raise ConfigError(f"{folder}: has no split {split}, but {', '.join(sorted(sizes))}")
        self._size = sizes[split]

    def __len__(self) -> int:
        return self._size

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("_folder", "_split", "_size")}

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """Every picture and label, in order and faster than by `read`."""
        for start in range(0, len(self), _READ_AT_ONCE):
            yield from self._read(range(start, min(start + _READ_AT_ONCE, len(self))))

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int32 [examples]; the first time the whole split is read, after that a small file."""
        return load_or_make(
            f"{self._folder.parent.name}-labels-{fingerprint(self._folder, self._split)}.npz",
            lambda: {"labels": np.fromiter((label for _, label in self), np.int32, len(self))},
            lambda arrays: arrays["labels"],
        )

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded picture and the label of an example."""
        return self._read([index])[0]

    def describe(self, index: int) -> str:
        """Says which picture an example is, for an error."""
        return f"{self._folder}: example {index} of split {self._split}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class, or its number where TFDS has no names."""
        with self._explained():
            feature = self._builder.info.features["label"]
            return tuple(feature.names or map(str, range(feature.num_classes)))

    def _read(self, indices: "range | list[int]") -> list[tuple[bytes, int]]:
        with self._explained():
            return [
                (example["image"], int(example["label"]))
                for example in self._source.__getitems__(list(indices))
            ]

    @functools.cached_property
    def _builder(self) -> Any:
        # TFDS takes most of a second to import, and the cache does without.
        import tensorflow_datasets as tfds

        return tfds.builder_from_directory(self._folder)

    @functools.cached_property
    def _source(self) -> Any:
        import tensorflow_datasets as tfds

        # TFDS would decode too, more slowly, and would ask for OpenCV in the log.
        decoders = {
            name: tfds.decode.SkipDecoding()
            for name, feature in self._builder.info.features.items()
            if isinstance(feature, tfds.features.Image)
        }
        return self._builder.as_data_source(self._split, decoders=decoders)

    def _explained(self) -> "_Explained":
        return _Explained(self._folder)


class _Explained:
    """Turns whatever TFDS and ArrayRecord raise into one line: the user's remedy is the same."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception):
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ConfigError(
                f"{self._folder}: cannot be read ({reason}); delete the folder and prepare it again"
            ) from error
