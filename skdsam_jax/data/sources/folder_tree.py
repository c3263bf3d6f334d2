"""Which files of a folder are images of which class, for training and for testing."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from skdsam_jax.data.sources.unusable import Unusable, complain, warn
from skdsam_jax.data.splits import stratified_choice
from skdsam_jax.options import ConfigError

ENDINGS = (".bmp", ".jpg", ".jpeg", ".png", ".webp")

# What file managers leave behind, in small letters; names that begin with a dot are hidden anyway.
_LEFT_BEHIND = ("thumbs.db", "desktop.ini")

# Folders of test images; the first that is there counts.
_TEST = ("test", "val", "valid", "validation")

# Which images are for testing is no matter of a run's seed.
_TEST_SEED = 0


class Tree(NamedTuple):
    """The files of both splits, each with the number of its class."""

    class_names: tuple[str, ...]
    train: list[tuple[pathlib.Path, int]]
    test: list[tuple[pathlib.Path, int]]


def find_tree(root: pathlib.Path, test_fraction: float | None, *, skip: bool = False) -> Tree:
    """Reads the names in a folder of images; opens none of them.

    Args:
      root: holds train/CLASS/* and test/CLASS/*, or CLASS/* alone. Instead of `test` it may be
        `val`, `valid` or `validation`.
      test_fraction: the part of every class that is for testing, where there is no `train`.
      skip: leave out files that are no images, with a warning, instead of refusing them.

    Raises:
      ConfigError: the folder is not laid out so; the message has all that is wrong with its files.
    """
    if not root.is_dir():
        raise ConfigError(f"config.data.data_dir: no such folder: {root}")
    if not _folders(root / "train"):
        return _divided(root, test_fraction, skip)
    if test_fraction is not None:
        raise ConfigError(
            f"config.data.test_fraction: must not be set, for there is a {root / 'train'}"
        )
    tests = [root / name for name in _TEST if (root / name).is_dir()]
    if not tests:
        raise ConfigError(
            f"config.data.data_dir: no such folder: {root / 'test'}, nor "
            f"{', '.join(_TEST[1:-1])} or {_TEST[-1]}"
        )
    sides = (root / "train", tests[0])
    found = [_Classes(side) for side in sides]
    missing = [
        f"{there.root / name}: no such folder, but {name} is in {other.root.name}"
        for there, other in (found[::-1], found)
        for name in other.names
        if name not in there.names
    ]
    _refuse(root, found, missing, skip)
    return Tree(found[0].names, *(classes.files for classes in found))


def class_folders(root: pathlib.Path) -> list[pathlib.Path]:
    """The folders of the classes, in ascending order of their names; none if there is no `root`."""
    return _folders(root / "train") or _folders(root)


class _Classes:
    """The classes in a folder, and what is wrong with them."""

    def __init__(self, root: pathlib.Path) -> None:
        folders = _folders(root)
        if len(folders) < 2:
            raise ConfigError(f"{root}: has {len(folders)} class folders, at least 2 are needed")
        self.root = root
        self.names = tuple(folder.name for folder in folders)
        self.files: list[tuple[pathlib.Path, int]] = []
        self.others: list[Unusable] = []
        for label, folder in enumerate(folders):
            for path in _visible(folder):
                if path.suffix.lower() in ENDINGS and path.is_file():
                    self.files.append((path, label))
                else:
                    self.others.append(Unusable(path, f"is no {', '.join(ENDINGS)} file"))
        labels = {label for _, label in self.files}
        self.empty = [
            f"{folder}: has no images"
            for label, folder in enumerate(folders)
            if label not in labels
        ]


def _divided(root: pathlib.Path, test_fraction: float | None, skip: bool) -> Tree:
    if test_fraction is None:
        raise ConfigError(
            f"config.data.test_fraction: must be set, for there is no {root / 'train'} with "
            "folders of classes"
        )
    classes = _Classes(root)
    _refuse(root, [classes], [], skip)
    labels = np.array([label for _, label in classes.files])
    train, test = (
        [classes.files[index] for index in indices]
        for indices in _choose(classes.names, labels, test_fraction)
    )
    return Tree(classes.names, train, test)


def _refuse(
    root: pathlib.Path, found: Sequence[_Classes], missing: Sequence[str], skip: bool
) -> None:
    """Raises a ConfigError with everything that is wrong, if something is."""
    folders = [*missing, *(line for classes in found for line in classes.empty)]
    others = [other for classes in found for other in classes.others]
    if skip and others:
        warn(root, others)
        others = []
    if folders or others:
        raise ConfigError(complain(root, others, folders))


def _folders(root: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in _visible(root) if path.is_dir()] if root.is_dir() else []


def _visible(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name.lower() not in _LEFT_BEHIND:
            yield path


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
