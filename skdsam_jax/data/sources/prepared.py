"""Sets that TFDS has prepared, read without TensorFlow.

Reading the cache of decoded images needs no TFDS either.
"""

import dataclasses
import importlib.util
import logging
import pathlib
from collections.abc import Mapping

import numpy as np

from skdsam_jax.data.dataset import Dataset, EncodedSplit, Split
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.pictures import PictureError, central_box, crop, open_picture, pixels
from skdsam_jax.data.sources.cache import load_or_make
from skdsam_jax.data.sources.prepared_folders import (
    data_folder,
    find_prepared,
    fingerprint,
    prepare_command,
    split_sizes,
    whole_sizes,
)
from skdsam_jax.data.sources.prepared_records import PreparedRecords
from skdsam_jax.installation import install_command
from skdsam_jax.options import ConfigError

_log = logging.getLogger(__name__)

# Side in pixels of what is made of a photograph, where nothing else is asked for.
STREAMED_SIDE = 224

# Part of a cache entry's name: a change to `_decode` is a new number.
_DECODED_FORMAT = 2


@dataclasses.dataclass(frozen=True)
class PreparedSet:
    """A loader for a set of TFDS with features "image" and "label" and a split "train".

    Attributes:
      name: of the set in TFDS.
      mean: per channel, of training pixels scaled to [0, 1].
      std: per channel, of training pixels scaled to [0, 1].
      needs_tensorflow: to be prepared; sets with a builder of ours do not.
      one_size: whether all images are of one size.
      test_split: what TFDS calls the split that is tested on.
      streaming_only: whether the set is too large to be decoded into memory.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    needs_tensorflow: bool = True
    one_size: bool = True
    test_split: str = "test"
    streaming_only: bool = False

    def __call__(self, options: DataOptions) -> Dataset:
        """Loads the set; what is not prepared is never downloaded unasked.

        Resident images of many sizes are shrunk to `image_size` on their shorter side and cut to
        their central square. Training images of one size stay as large as they are if `crop` is
        "resized": the random crops shrink them.

        Args:
          options: its fields `data_dir`, `image_size`, `pipeline` and `crop` count.

        Returns:
          The dataset, without a validation split. One of which only a part was prepared says so in
          its name and in the log.

        Raises:
          ConfigError: as `check`, or what is there cannot be read.
        """
        folder = self.check(options)
        if options.pipeline == "streaming":
            dataset = self._stream(folder, options.image_size or STREAMED_SIDE)
        else:
            dataset = self._load(folder, options)
        return self._marked(dataset, folder)

    def check(self, options: DataOptions) -> pathlib.Path:
        """Looks for the set, and decodes nothing.

        Args:
          options: as for a call.

        Returns:
          The folder of the prepared set.

        Raises:
          ConfigError: `data_dir` is no folder, the set is not prepared in it, or it cannot be
            resident as asked for.
        """
        self._check_pipeline(options)
        root = data_folder(options.data_dir)
        if options.data_dir is not None and not root.is_dir():
            raise ConfigError(f"config.data.data_dir: no such folder: {root}")
        folder = find_prepared(self.name, root)
        if folder is None:
            install = ""
            if self.needs_tensorflow and importlib.util.find_spec("tensorflow") is None:
                install = f"{install_command('prepare')} && "
            raise ConfigError(
                f"config.data.name: {self.name} is not prepared in {root}; run: {install}"
                f"{prepare_command(self.name, root)}"
            )
        return folder

    def _check_pipeline(self, options: DataOptions) -> None:
        if options.pipeline == "streaming":
            return
        if self.streaming_only:
            raise ConfigError(
                f"config.data.pipeline: {self.name} is too large to be resident; "
                "takes streaming for it"
            )
        if not self.one_size and options.image_size is None:
            raise ConfigError(
                f"config.data.image_size: must be set for {self.name}, whose images are of many "
                "sizes, unless config.data.pipeline is streaming"
            )

    def _stream(self, folder: pathlib.Path, side: int) -> Dataset:
        records = {name: PreparedRecords(folder, name) for name in ("train", self.test_split)}
        return Dataset(
            name=self.name,
            class_names=records["train"].class_names,
            mean=self.mean,
            std=self.std,
            train=EncodedSplit(records["train"], side),
            validation=None,
            test=EncodedSplit(records[self.test_split], side),
        )

    def _load(self, folder: pathlib.Path, options: DataOptions) -> Dataset:
        image_size = options.image_size
        side = None if self.one_size else image_size
        identity = fingerprint(folder, _DECODED_FORMAT, side)
        dataset = load_or_make(
            f"{self.name}-{folder.name}-{identity}.npz",
            lambda: self._decode(folder, side),
            self._build,
        )
        if image_size is None:
            return dataset
        splits = {"test": dataset.test.resized(image_size)}
        if options.crop != "resized" or min(dataset.train.image_shape[:2]) < image_size:
            splits["train"] = dataset.train.resized(image_size)
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

    def _decode(self, folder: pathlib.Path, side: int | None) -> dict[str, np.ndarray]:
        arrays = {"class_names": np.array(PreparedRecords(folder, "train").class_names)}
        for split, name in (("train", "train"), ("test", self.test_split)):
            records = PreparedRecords(folder, name)
            images, labels = None, np.empty(len(records), np.int32)
            for index, (encoded, label) in enumerate(records):
                try:
                    picture = open_picture(encoded)
                    image = (
                        pixels(picture)
                        if side is None
                        else crop(picture, central_box(picture.size), side)
                    )
                    if images is None:
                        images = np.empty((len(records), *image.shape), np.uint8)
                    images[index], labels[index] = image, label
                except (PictureError, ValueError) as error:
                    raise ConfigError(f"{records.describe(index)} {error}") from error
            arrays[f"{split}_images"], arrays[f"{split}_labels"] = images, labels
        return arrays

    def _marked(self, dataset: Dataset, folder: pathlib.Path) -> Dataset:
        whole = whole_sizes(folder)
        if whole is None:
            return dataset
        sizes = split_sizes(folder)
        counts = " and ".join(
            f"{sizes[split]:,} of {size:,} {split} images" for split, size in whole.items()
        )
        _log.warning("%s: only a part of %s: %s", folder, self.name, counts)
        return dataclasses.replace(dataset, name=f"{self.name} (partial)")
