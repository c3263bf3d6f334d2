"""A user's own images, in a folder of class folders.

Either `train/<class>/*` and `test/<class>/*`, or `<class>/*` and a stated part for testing. Files
are JPEG, PNG or WebP of any size; whatever cannot be used is refused by name. Names that begin with
a dot are not looked at.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from skdsam_jax.data.dataset import Dataset, EncodedSplit, Split
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.pictures import PictureError, central_box, crop, open_picture
from skdsam_jax.data.sources.cache import load_or_make
from skdsam_jax.data.sources.prepared import STREAMED_SIDE
from skdsam_jax.data.splits import stratified_choice
from skdsam_jax.options import ConfigError

# Of ImageNet's training photographs.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")

# Which images are for testing is no matter of a run's seed.
_TEST_SEED = 0

# Parts of a cache entry's name: a change to what is made of a file is a new number.
_DECODED_FORMAT = 1


class FolderRecords:
    """Image files and their labels; see `dataset.Records`.

    Attributes:
      files: where they are.
      labels: int32 [examples].
    """

    def __init__(self, files: Sequence[pathlib.Path], labels: Sequence[int]) -> None:
        self.files = tuple(files)
        self.labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> tuple[bytes, int]:
        """The contents of a file, and its label."""
        try:
            return self.files[index].read_bytes(), int(self.labels[index])
        except OSError as error:
            raise ConfigError(
                f"{self.describe(index)} cannot be read ({error.strerror})"
            ) from error

    def describe(self, index: int) -> str:
        """The file, for an error."""
        return f"{self.files[index]}:"


def load_folder(options: DataOptions) -> Dataset:
    """Loads the images in `options.data_dir`.

    Every file is decoded once before anything is trained. Resident images are shrunk to
    `image_size` on their shorter side, cut to their central square and kept in the cache.

    Args:
      options: its fields `data_dir`, `image_size`, `pipeline` and `test_fraction` count.

    Returns:
      The dataset, called as the folder is; classes are in ascending order of their names. Mean and
      std are ImageNet's.

    Raises:
      ConfigError: the folder is not laid out as described above, or a file cannot be used.
    """
    if options.data_dir is None:
        raise ConfigError("config.data.data_dir: must be set for config.data.name=folder")
    root = pathlib.Path(options.data_dir).expanduser().absolute()
    class_names, train, test = _find(root, options.test_fraction)

    def dataset(splits: Sequence[Split | EncodedSplit]) -> Dataset:
        return Dataset(root.name, class_names, MEAN, STD, splits[0], None, splits[1])

    if options.pipeline == "streaming":
        side = options.image_size or STREAMED_SIDE
        for records in (train, test):
            _verify(records)
        return dataset([EncodedSplit(records, side) for records in (train, test)])
    if options.image_size is None:
        raise ConfigError(
            "config.data.image_size: must be set for config.data.name=folder, unless "
            "config.data.pipeline is streaming"
        )
    return dataset([_decode(records, options.image_size) for records in (train, test)])


def find_class_names(options: "DataOptions") -> tuple[str, ...]:
    """The names of the classes of a folder of images, none if it is not there; opens no image."""
    root = pathlib.Path(options.data_dir).expanduser().absolute()
    return tuple(path.name for path in _folders(root / "train") or _folders(root))


def _find(
    root: pathlib.Path, test_fraction: float | None
) -> tuple[tuple[str, ...], FolderRecords, FolderRecords]:
    """The names of the classes, and the files of both splits."""
    if not root.is_dir():
        raise ConfigError(f"config.data.data_dir: no such folder: {root}")
    if not _folders(root / "train"):
        if test_fraction is None:
            raise ConfigError(
                f"config.data.test_fraction: must be set, for there is no {root / 'train'} with "
                "folders of classes"
            )
        class_names, files, labels = _read_classes(root)
        chosen = _choose(class_names, labels, test_fraction)
        splits = [
            FolderRecords([files[index] for index in indices], labels[indices])
            for indices in chosen
        ]
        return class_names, *splits
    if test_fraction is not None:
        raise ConfigError(
            f"config.data.test_fraction: must not be set, for there is a {root / 'train'}"
        )
    class_names, files, labels = _read_classes(root / "train")
    if not (root / "test").is_dir():
        raise ConfigError(f"config.data.data_dir: no such folder: {root / 'test'}")
    test_names, test_files, test_labels = _read_classes(root / "test")
    for name in class_names:
        if name not in test_names:
            raise ConfigError(f"{root / 'test' / name}: no such folder, but {name} is in train")
    for name in test_names:
        if name not in class_names:
            raise ConfigError(f"{root / 'train' / name}: no such folder, but {name} is in test")
    return class_names, FolderRecords(files, labels), FolderRecords(test_files, test_labels)


def _read_classes(root: pathlib.Path) -> tuple[tuple[str, ...], list[pathlib.Path], np.ndarray]:
    """Names of classes, files and labels."""
    folders = _folders(root)
    if len(folders) < 2:
        raise ConfigError(f"{root}: has {len(folders)} class folders, at least 2 are needed")
    files, labels = [], []
    for label, folder in enumerate(folders):
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if not found:
            raise ConfigError(f"{folder}: has no images")
        for path in found:
            if path.suffix.lower() not in _ENDINGS or not path.is_file():
                raise ConfigError(f"{path}: is no {', '.join(_ENDINGS)} file; take it out")
        files += found
        labels += [label] * len(found)
    return tuple(folder.name for folder in folders), files, np.array(labels)


def _folders(root: pathlib.Path) -> list[pathlib.Path]:
    if not root.is_dir():
        return []
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _choose(
    class_names: Sequence[str], labels: np.ndarray, test_fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Indices for training and for testing, the same for every seed of a run."""
    test, train = stratified_choice(labels, round(test_fraction * len(labels)), _TEST_SEED)
    for purpose, indices in (("training", train), ("testing", test)):
        counts = np.bincount(labels[indices], minlength=len(class_names))
        if not counts.all():
            label = int(np.argmin(counts))
            raise ConfigError(
                f"config.data.test_fraction: {test_fraction} leaves none of the "
                f"{np.sum(labels == label)} images of class {class_names[label]} for {purpose}"
            )
    return train, test


def _verify(records: FolderRecords) -> None:
    """Decodes each file once, small, and remembers that it could be done."""

    def make() -> Mapping[str, np.ndarray]:
        # A damaged JPEG is damaged at an eighth of its size too.
        _for_each(records, lambda index: _picture(records, index, 8))
        return {"verified": np.array(len(records))}

    load_or_make(f"folder-verified-{_fingerprint(records, None)}.npz", make, lambda arrays: None)


def _decode(records: FolderRecords, side: int) -> Split:
    def make() -> Mapping[str, np.ndarray]:
        images = np.empty((len(records), side, side, 3), np.uint8)

        def fill(index: int) -> None:
            images[index] = _picture(records, index, side)

        _for_each(records, fill)
        return {"images": images}

    return load_or_make(
        f"folder-{_fingerprint(records, side)}.npz",
        make,
        lambda arrays: Split(arrays["images"], records.labels),
    )


def _picture(records: FolderRecords, index: int, side: int) -> np.ndarray:
    encoded, _ = records.read(index)
    try:
        picture = open_picture(encoded)
        return crop(picture, central_box(picture.size), side)
    except PictureError as error:
        raise ConfigError(f"{records.describe(index)} {error}") from error


def _for_each(records: FolderRecords, work: Callable[[int], object]) -> None:
    """Calls `work` for every index, on all cores: Pillow decodes without the interpreter's lock."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
        for _ in executor.map(work, range(len(records))):
            pass


def _fingerprint(records: FolderRecords, side: int | None) -> str:
    """Sixteen letters that change with the files and with what is made of them."""
    try:
        files = [
            (str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in records.files
        ]
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read ({error.strerror})") from error
    identity = json.dumps([_DECODED_FORMAT, side, files])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
