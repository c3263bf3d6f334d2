"""A user's own images, in a folder of class folders.

Either `train/<class>/*` and `test/<class>/*`, or `<class>/*` and a stated part for testing; see
`folder_tree`. Files are JPEG, PNG, WebP or BMP of any size; whatever cannot be used is refused by
name, or left out.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from skdsam_jax.data.dataset import Dataset, EncodedSplit, Split
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.pictures import PictureError, central_box, crop, open_picture
from skdsam_jax.data.sources.cache import load_or_make
from skdsam_jax.data.sources.folder_tree import Tree, class_folders, find_tree
from skdsam_jax.data.sources.prepared import STREAMED_SIDE
from skdsam_jax.data.sources.unusable import Unusable, UnusableError, complain, warn
from skdsam_jax.options import ConfigError

T = TypeVar("T")

# Of ImageNet's training photographs.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Parts of a cache entry's name: a change to what is made of a file is a new number.
_DECODED_FORMAT = 1

# Side in pixels at which a file is decoded to be verified: a damaged JPEG is damaged at an eighth
# of its size too.
_SMALL = 8


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
      options: its fields `data_dir`, `image_size`, `pipeline`, `skip_unreadable` and
        `test_fraction` count.

    Returns:
      The dataset, called as the folder is; classes are in ascending order of their names. Mean and
      std are ImageNet's.

    Raises:
      ConfigError: the folder is not laid out as described above, or files cannot be used; the
        message has all of them.
    """
    root, tree = find_folder(options)
    splits = [FolderRecords(*zip(*files, strict=True)) for files in (tree.train, tree.test)]
    if options.skip_unreadable:
        splits = _without_unreadable(root, tree.class_names, splits)
    if options.pipeline == "streaming":
        if not options.skip_unreadable:
            _of_all(root, splits, _verify)
        side = options.image_size or STREAMED_SIDE
        made = [EncodedSplit(records, side) for records in splits]
    else:
        made = _of_all(root, splits, lambda records: _decode(records, options.image_size))
    train, test = made
    fingerprint = _fingerprint_of_set(root, splits)
    return Dataset(root.name, tree.class_names, MEAN, STD, train, None, test, fingerprint)


def find_folder(options: DataOptions) -> tuple[pathlib.Path, Tree]:
    """The folder that `options` name and what is in it, without a look into the files.

    Raises:
      ConfigError: as `load_folder`, but for what is in the files.
    """
    if options.data_dir is None:
        raise ConfigError("config.data.data_dir: must be set for config.data.name=folder")
    root = pathlib.Path(options.data_dir).expanduser().absolute()
    tree = find_tree(root, options.test_fraction, skip=options.skip_unreadable)
    if options.pipeline != "streaming" and options.image_size is None:
        raise ConfigError(
            "config.data.image_size: must be set for config.data.name=folder, unless "
            "config.data.pipeline is streaming"
        )
    return root, tree


def find_class_names(options: DataOptions) -> tuple[str, ...]:
    """The names of the classes of a folder of images, none if it is not there; opens no image."""
    root = pathlib.Path(options.data_dir).expanduser().absolute()
    return tuple(path.name for path in class_folders(root))


def _of_all(
    root: pathlib.Path, splits: Sequence[FolderRecords], work: Callable[[FolderRecords], T]
) -> list[T]:
    """What `work` makes of each split; a ConfigError has what cannot be used in any of them."""
    made, unusable = [], []
    for records in splits:
        try:
            made.append(work(records))
        except UnusableError as error:
            unusable += error.files
    if unusable:
        raise ConfigError(complain(root, unusable))
    return made


def _without_unreadable(
    root: pathlib.Path, class_names: Sequence[str], splits: Sequence[FolderRecords]
) -> list[FolderRecords]:
    """The splits without the files that cannot be decoded, which a warning names."""
    kept, unusable = [], []
    for records, purpose in zip(splits, ("training", "testing"), strict=True):
        found = load_or_make(
            f"folder-unreadable-{_fingerprint(records, None)}.npz",
            lambda records=records: _list_unreadable(records),
            lambda arrays: dict(
                zip(arrays["indices"].tolist(), arrays["reasons"].tolist(), strict=True)
            ),
        )
        unusable += [Unusable(records.files[index], reason) for index, reason in found.items()]
        rest = [index for index in range(len(records)) if index not in found]
        counts = np.bincount(records.labels[rest], minlength=len(class_names))
        if not counts.all():
            raise ConfigError(
                f"config.data.skip_unreadable: leaves no image of class "
                f"{class_names[int(np.argmin(counts))]} for {purpose}"
            )
        kept.append(FolderRecords([records.files[index] for index in rest], records.labels[rest]))
    if unusable:
        warn(root, unusable)
    return kept


def _list_unreadable(records: FolderRecords) -> Mapping[str, np.ndarray]:
    try:
        _for_each(records, lambda index: _picture(records, index, _SMALL))
        unusable = {}
    except UnusableError as error:
        unusable = {file.path: file.reason for file in error.files}
    indices = [index for index, path in enumerate(records.files) if path in unusable]
    reasons = [unusable[records.files[index]] for index in indices]
    return {"indices": np.array(indices, int), "reasons": np.array(reasons, str)}


def _verify(records: FolderRecords) -> None:
    """Decodes each file once, small, and remembers that it could be done."""

    def make() -> Mapping[str, np.ndarray]:
        _for_each(records, lambda index: _picture(records, index, _SMALL))
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
        lambda arrays: Split(arrays["images"], records.labels, records.files),
    )


def _picture(records: FolderRecords, index: int, side: int) -> np.ndarray:
    encoded, _ = records.read(index)
    picture = open_picture(encoded)
    return crop(picture, central_box(picture.size), side)


def _for_each(records: FolderRecords, work: Callable[[int], object]) -> None:
    """Calls `work` for every index, on all cores: Pillow decodes without the interpreter's lock.

    Raises:
      UnusableError: some are no pictures, when all have been looked at.
    """

    def attempt(index: int) -> Unusable | None:
        try:
            work(index)
        except PictureError as error:
            return Unusable(records.files[index], str(error))
        return None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
        unusable = [found for found in executor.map(attempt, range(len(records))) if found]
    if unusable:
        raise UnusableError(unusable)


def _fingerprint_of_set(root: pathlib.Path, splits: Sequence[FolderRecords]) -> str:
    """Twelve letters that change with what is trained and tested on, wherever the folder lies."""
    files = [
        [(path.relative_to(root).as_posix(), path.stat().st_size) for path in records.files]
        for records in splits
    ]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]


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
