"""Stanford 40 Actions, from its zip of pictures and its zip of lists."""

from collections.abc import Mapping
from typing import ClassVar

from skdsam_jax.data.sources.builders.archives import Archive
from skdsam_jax.data.sources.builders.base import Contents, Member, PictureBuilder

_IMAGES, _SPLITS = "Stanford40_JPEGImages.zip", "Stanford40_ImageSplits.zip"
_ADDRESS = "http://vision.stanford.edu/Datasets"


class Stanford40Actions(PictureBuilder):
    """40 actions of people: 100 training pictures of each, 5,532 test pictures in all.

    Yao et al., Human action recognition by learning bases of action attributes and parts, 2011.
    """

    CLASSES = 40
    SIZES: ClassVar = {"train": 4_000, "test": 5_532}
    URLS: ClassVar = {name: f"{_ADDRESS}/{name}" for name in (_IMAGES, _SPLITS)}
    HOMEPAGE = f"{_ADDRESS}/40actions.html"

    def _contents(self, archives: Mapping[str, Archive]) -> Contents:
        images, lists = archives[_IMAGES], archives[_SPLITS]
        # The first line is a header; the others are an action and its number of pictures.
        _, *actions = lists.lines("ImageSplits/actions.txt")
        class_names = [action.split()[0] for action in actions]
        members = {
            split: [
                Member(images, f"JPEGImages/{file}", class_name)
                for class_name in class_names
                for file in lists.lines(f"ImageSplits/{class_name}_{split}.txt")
            ]
            for split in self.SIZES
        }
        return Contents(class_names, members)
