"""Small CIFAR sets in TFDS's own layout, prepared without TensorFlow and without a download."""

import io
import pathlib
import sys

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

SIZES = {"train": 40, "test": 20}


def class_names(count):
    return [f"class_{label:02d}" for label in range(count)]


def examples(split, classes):
    """The images and labels that a set holds: noise, and every class equally often."""
    generator = np.random.default_rng([*split.encode()])
    count = SIZES[split]
    images = generator.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return images, (np.arange(count) * 7 % classes).astype(np.int32)


class _TinyCifar(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("3.0.2")
    CLASSES = 10

    def _info(self):
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(names=class_names(self.CLASSES)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SIZES}

    def _generate_examples(self, split):
        for index, (image, label) in enumerate(zip(*examples(split, self.CLASSES), strict=True)):
            # Given an array, TFDS would encode it with TensorFlow.
            encoded = io.BytesIO()
            Image.fromarray(image).save(encoded, "png")
            encoded.seek(0)
            yield index, {"id": f"{split}_{index:05d}", "image": encoded, "label": int(label)}


class Cifar10(_TinyCifar, skip_registration=True):
    """Ten classes."""


class Cifar100(_TinyCifar, skip_registration=True):
    """As many classes as the real set; the training split has examples of forty."""

    CLASSES = 100


class Broken(_TinyCifar, skip_registration=True):
    """Fails when it has written half of its examples."""

    name = "cifar10"

    def _generate_examples(self, split):
        yield from list(super()._generate_examples(split))[:10]
        raise OSError("the archive\nis cut short")


BUILDERS = {"cifar10": Cifar10, "cifar100": Cifar100}


def prepare(name, data_dir):
    """Prepares a set in `data_dir` and returns the folder of its version."""
    builder = BUILDERS[name](data_dir=data_dir)
    builder.download_and_prepare(file_format="array_record")
    return pathlib.Path(builder.data_dir)


if __name__ == "__main__":
    prepare(*sys.argv[1:])
