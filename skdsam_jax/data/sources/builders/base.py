"""What the builders share: find the archives, verify everything, write the pictures as they are."""

import contextlib
import inspect
import io
import pathlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import tensorflow_datasets as tfds

from skdsam_jax.data.pictures import PictureError, open_picture, pixels
from skdsam_jax.data.sources.builders.archives import Archive, open_archive
from skdsam_jax.options import ConfigError


class Member(NamedTuple):
    """A picture: the archive it is in, its name there, its class."""

    archive: Archive
    name: str
    class_name: str


class Contents(NamedTuple):
    """What archives hold: the classes, and the pictures of each split."""

    class_names: Sequence[str]
    members: Mapping[str, Sequence[Member]]


class PictureBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A set of classified pictures in archives.

    With a manual folder (`tfds.download.DownloadConfig.manual_dir`) every archive is taken from
    there, without one every archive is downloaded. Nothing is written before the archives hold
    exactly the classes and as many pictures as the set is known to have; each picture is decoded
    once before it is written.

    Attributes:
      CLASSES: how many classes the set has.
      SIZES: split to its number of pictures.
      URLS: name of each archive to its official address.
    """

    VERSION = tfds.core.Version("1.0.0")
    CLASSES: ClassVar[int]
    SIZES: ClassVar[Mapping[str, int]]
    URLS: ClassVar[Mapping[str, str]]
    HOMEPAGE: ClassVar[str]
    # Without it TFDS keeps the manual folder to itself.
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The archives, named as at their official addresses."

    def __init__(self, *, allow_partial: bool = False, **arguments: Any) -> None:
        """Names the set; nothing is read.

        Args:
          allow_partial: take archives that hold only a part of each split, with at least one
            training picture of every class. The prepared set says that it is partial.
          **arguments: of `tfds.core.DatasetBuilder`.
        """
        self._allow_partial = allow_partial
        super().__init__(**arguments)

    @abstractmethod
    def _contents(self, archives: Mapping[str, Archive]) -> Contents:
        """Finds the pictures; a split's list may name some that a partial archive lacks."""

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(),
            "label": tfds.features.ClassLabel(num_classes=self.CLASSES),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=inspect.getdoc(type(self)),
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage=self.HOMEPAGE,
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(self, **arguments: Any) -> None:
        """As `tfds.core.DatasetBuilder.download_and_prepare`, and closes the archives."""
        with contextlib.ExitStack() as self._open:
            super().download_and_prepare(**arguments)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        archives = {
            name: self._open.enter_context(open_archive(path, name))
            for name, path in self._find_archives(dl_manager).items()
        }
        class_names, members = self._contents(archives)
        members = {split: self._present(found) for split, found in members.items()}
        self._verify(class_names, members)
        self.info.features["label"].names = list(class_names)
        return {split: self._generate_examples(found) for split, found in members.items()}

    def _generate_examples(self, members: Sequence[Member]) -> Iterator[tuple[str, dict[str, Any]]]:
        for index, (archive, name, class_name) in enumerate(members):
            encoded = archive.read(name)
            try:
                pixels(open_picture(encoded))
            except PictureError as error:
                raise ConfigError(f"{archive.path}: {name} {error}") from error
            # Given an array, TFDS would encode it with TensorFlow.
            example = {"file_name": name, "image": io.BytesIO(encoded), "label": class_name}
            # TFDS takes a key once, and a list may name a picture twice.
            yield f"{index}:{name}", example

    def _find_archives(self, dl_manager: tfds.download.DownloadManager) -> dict[str, pathlib.Path]:
        try:
            folder = pathlib.Path(dl_manager.manual_dir)
        except AssertionError:
            # TFDS says in this way that there is no manual folder.
            resources = {name: tfds.download.Resource(url=url) for name, url in self.URLS.items()}
            return {
                name: pathlib.Path(path) for name, path in dl_manager.download(resources).items()
            }
        return {name: folder / name for name in self.URLS}

    def _present(self, members: Sequence[Member]) -> list[Member]:
        if self._allow_partial:
            return [member for member in members if member.name in member.archive.names]
        for archive, name, _ in members:
            if name not in archive.names:
                raise ConfigError(f"{archive.path}: has no {name}, which the lists name")
        return list(members)

    def _verify(self, class_names: Sequence[str], members: Mapping[str, Sequence[Member]]) -> None:
        if len(set(class_names)) != self.CLASSES:
            raise ConfigError(
                f"{len(set(class_names))} classes, but {self.name} has {self.CLASSES}"
            )
        found = {split: len(pictures) for split, pictures in members.items()}
        for split, size in self.SIZES.items():
            if found[split] > size or (found[split] < size and not self._allow_partial):
                raise ConfigError(
                    f"{found[split]:,} pictures in split {split}, but {self.name} has {size:,}"
                    + ("; --allow_partial takes them all the same" if found[split] < size else "")
                )
        partial = found != dict(self.SIZES)
        for split, pictures in members.items():
            classes = {member.class_name for member in pictures}
            unknown, missing = classes - set(class_names), set(class_names) - classes
            if unknown:
                raise ConfigError(f"split {split} names an unknown class {min(unknown)}")
            # Of a part of the test split not much can be asked.
            if missing and (split == "train" or not partial or not pictures):
                raise ConfigError(f"class {min(missing)} has no picture in split {split}")
        if partial:
            self.info.metadata["partial_of"] = dict(self.SIZES)
