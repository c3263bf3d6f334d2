"""Tiny ImageNet, from the zip of Stanford's course CS231n."""

from collections.abc import Mapping
from typing import ClassVar

from skdsam_jax.data.sources.builders.archives import Archive
from skdsam_jax.data.sources.builders.base import Contents, Member, PictureBuilder
from skdsam_jax.options import ConfigError

_ARCHIVE = "tiny-imagenet-200.zip"
_ROOT = "tiny-imagenet-200"


class TinyImagenet(PictureBuilder):
    """200 classes of ImageNet at 64x64 pixels, 500 training and 50 test pictures each.

    The labels of the original test pictures were never published: the original validation split is
    the test split here, as everywhere. Classes are WordNet numbers in ascending order.
    """

    CLASSES = 200
    SIZES: ClassVar = {"train": 100_000, "test": 10_000}
    URLS: ClassVar = {_ARCHIVE: "http://cs231n.stanford.edu/tiny-imagenet-200.zip"}
    HOMEPAGE = "http://cs231n.stanford.edu"

    def _contents(self, archives: Mapping[str, Archive]) -> Contents:
        archive = archives[_ARCHIVE]
        class_names = sorted(archive.lines(f"{_ROOT}/wnids.txt"))
        known = set(class_names)
        train = []
        for name in sorted(archive.names):
            match name.split("/"):
                case [root, "train", class_name, "images", file] if root == _ROOT and file:
                    if class_name not in known:
                        raise ConfigError(f"{archive.path}: {name} is of no class in wnids.txt")
                    train.append(Member(archive, name, class_name))
        test = []
        for line in archive.lines(f"{_ROOT}/val/val_annotations.txt"):
            file, class_name, *_ = (*line.split("\t"), "")
            if class_name not in known:
                raise ConfigError(
                    f"{archive.path}: val_annotations.txt gives {file} the class {class_name!r}, "
                    "which is not in wnids.txt"
                )
            test.append(Member(archive, f"{_ROOT}/val/images/{file}", class_name))
        return Contents(class_names, {"train": train, "test": test})
