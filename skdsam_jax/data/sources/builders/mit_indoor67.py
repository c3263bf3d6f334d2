"""MIT Indoor 67, from its tar of pictures and its two lists."""

from collections.abc import Mapping
from typing import ClassVar

from skdsam_jax.data.sources.builders.archives import Archive
from skdsam_jax.data.sources.builders.base import Contents, Member, PictureBuilder

_IMAGES = "indoorCVPR_09.tar"
_LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}
_LIST_ADDRESS = "http://web.mit.edu/torralba/www"


class MitIndoor67(PictureBuilder):
    """67 kinds of rooms: about 80 training and 20 test pictures of each, of 15,620 in the archive.

    Quattoni and Torralba, Recognizing indoor scenes, 2009.
    """

    CLASSES = 67
    SIZES: ClassVar = {"train": 5_360, "test": 1_340}
    URLS: ClassVar = {
        _IMAGES: f"http://groups.csail.mit.edu/vision/LabelMe/NewImages/{_IMAGES}",
        **{name: f"{_LIST_ADDRESS}/{name}" for name in _LISTS.values()},
    }
    HOMEPAGE = f"{_LIST_ADDRESS}/indoor.html"

    def _contents(self, archives: Mapping[str, Archive]) -> Contents:
        images = archives[_IMAGES]
        members = {
            split: [
                Member(images, f"Images/{line}", line.split("/")[0])
                for line in archives[name].lines(name)
            ]
            for split, name in _LISTS.items()
        }
        class_names = sorted({member.class_name for member in members["train"]})
        return Contents(class_names, members)
