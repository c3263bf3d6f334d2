"""Sets that TFDS has prepared, found and read without TensorFlow.

The folders are those of TFDS, `<data_dir>/<name>/<version>`, with records in `array_record`
format. Finding them and reading the cache of decoded images needs no TFDS either.
"""

import dataclasses
import hashlib
import importlib.util
import io
import json
import logging
import os
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
from PIL import Image

from skdsam_jax.data.cache import load_or_make
from skdsam_jax.data.dataset import Dataset, Split
from skdsam_jax.data.resize import resize
from skdsam_jax.options import ConfigError

_log = logging.getLogger(__name__)

# Part of a cache entry's name: a change to `_decode` is a new number.
_DECODED_FORMAT = 1

# One by one, records take half as long again to read.
_READ_AT_ONCE = 1000


@dataclasses.dataclass(frozen=True)
class PreparedSet:
    """A loader for a set of TFDS with features "image" and "label", splits "train" and "test".

    Attributes:
      name: of the set in TFDS.
      mean: per channel, of training pixels scaled to [0, 1].
      std: per channel, of training pixels scaled to [0, 1].
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, data_dir: str | None, image_size: int | None) -> Dataset:
        """Loads the set, prepared first where that is possible and needed.

        Args:
          data_dir: the folder of prepared sets; None: the default of `data_folder`.
          image_size: side in pixels to which images are resized; None: as they are.

        Returns:
          The dataset, without a validation split.

        Raises:
          ConfigError: `data_dir` is no folder, the set is not prepared in it and cannot be, or
            what is there cannot be read.
        """
        root = data_folder(data_dir)
        if data_dir is not None and not root.is_dir():
            raise ConfigError(f"config.data.data_dir: no such folder: {root}")
        folder = find_prepared(self.name, root)
        if folder is None:
            _prepare(self.name, root)
            folder = find_prepared(self.name, root)
        dataset = load_or_make(
            _cache_entry(self.name, folder), lambda: _decode(folder), self._build
        )
        if image_size is None:
            return dataset
        splits = {
            name: dataclasses.replace(split, images=resize(split.images, image_size))
            for name, split in (("train", dataset.train), ("test", dataset.test))
        }
        return dataclasses.replace(dataset, **splits)

    def _build(self, arrays: Mapping[str, np.ndarray]) -> Dataset:
        return Dataset(
            name=self.name,
            class_names=tuple(arrays["class_names"].tolist()),
            mean=self.mean,
            std=self.std,
            train=Split(arrays["train_images"], arrays["train_labels"]),
            validation=None,
            test=Split(arrays["test_images"], arrays["test_labels"]),
        )


def data_folder(data_dir: str | None) -> pathlib.Path:
    """The folder of prepared sets: `data_dir`, `$TFDS_DATA_DIR`, or TFDS's own default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(chosen).expanduser().absolute()


def find_prepared(name: str, root: pathlib.Path) -> pathlib.Path | None:
    """Finds the newest version of a set prepared as `array_record`.

    Args:
      name: of the set in TFDS.
      root: the folder of prepared sets.

    Returns:
      The folder of that version, or None where the set is not prepared.

    Raises:
      ConfigError: the set is there only in other file formats, or its description is damaged.
    """
    others = set()
    for folder in sorted((root / name).glob("*"), key=_version, reverse=True):
        description = folder / "dataset_info.json"
        if not _version(folder) or not description.is_file():
            continue
        try:
            info = json.loads(description.read_bytes())
            formats = {info.get("fileFormat", "tfrecord"), *info.get("alternativeFileFormats", ())}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise ConfigError(f"{description}: cannot be read ({error})") from error
        if "array_record" in formats:
            return folder
        others |= formats
    if others:
        raise ConfigError(
            f"{root / name}: holds {name} only as {', '.join(sorted(others))}, but array_record "
            f"is needed; prepare it into another folder: {_command(name, 'ANOTHER_FOLDER')}"
        )
    return None


def _version(folder: pathlib.Path) -> tuple[int, ...]:
    """The numbers in the name of a version's folder; empty where it is no version."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", folder.name)
    return tuple(map(int, match.groups())) if match else ()


def _command(name: str, root: pathlib.Path | str) -> str:
    """What a user types to prepare a set."""
    return f"python -m skdsam_jax.data.prepare {name} --data_dir {shlex.quote(str(root))}"


def _prepare(name: str, root: pathlib.Path) -> None:
    """Prepares a set in another process, so that TensorFlow never enters this one."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ConfigError(
            f"config.data.name: {name} is not prepared in {root}; run: "
            f"pip install 'skdsam_jax[prepare]' && {_command(name, root)}"
        )
    _log.warning("%s is not prepared; downloading and preparing it in %s", name, root)
    command = [sys.executable, *shlex.split(_command(name, root))[1:]]
    result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        *_, reason = f"exit code {result.returncode}", *result.stderr.strip().splitlines()
        raise ConfigError(f"config.data.name: {reason.removeprefix('error: ')}")


def _cache_entry(name: str, folder: pathlib.Path) -> str:
    """A file name that changes with the folder and with every file in it."""
    files = sorted(
        (file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in folder.iterdir()
    )
    identity = json.dumps([_DECODED_FORMAT, str(folder.resolve()), files])
    return f"{name}-{folder.name}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"


def _decode(folder: pathlib.Path) -> dict[str, np.ndarray]:
    # TFDS takes most of a second to import, and the cache does without.
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        names = builder.info.features["label"].names
        arrays = {"class_names": np.array(names)}
        for split in ("train", "test"):
            # TFDS would decode too, more slowly, and would ask for OpenCV in the log.
            source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
            images, labels = [], []
            for start in range(0, len(source), _READ_AT_ONCE):
                indices = range(start, min(start + _READ_AT_ONCE, len(source)))
                for example in source.__getitems__(indices):
                    images.append(_pixels(example["image"]))
                    labels.append(example["label"])
            arrays[f"{split}_images"] = np.stack(images)
            arrays[f"{split}_labels"] = np.array(labels, np.int32)
    # Whatever TFDS, ArrayRecord or Pillow raise, the user's remedy is the same.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"{folder}: cannot be read ({reason}); delete the folder and prepare it again"
        ) from error
    return arrays


def _pixels(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
