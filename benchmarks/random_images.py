"""The data every implementation trains on: random, so that no download is needed."""

import dataclasses

import numpy as np

from benchmarks.settings import MEAN, STD, Settings
from skdsam_jax.data import DataOptions, Dataset, Split


def random_images(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [examples, size, size, 3] and int32 labels [examples], always the same ones."""
    generator = np.random.default_rng(0)
    shape = (settings.examples, settings.image_size, settings.image_size, 3)
    labels = generator.integers(0, settings.classes, settings.examples, np.int32)
    return generator.integers(0, 256, shape, np.uint8), labels


def like_cifar(options: DataOptions) -> Dataset:
    """Random images in the place of CIFAR-100: for `config.data.name`.

    Args:
      options: of them count `image_size`, None: 32, and `train_examples`, None: 50,000; a fifth as
        many images are there to test on.
    """
    settings = Settings(examples=options.train_examples or Settings.examples)
    settings = dataclasses.replace(settings, image_size=options.image_size or settings.image_size)
    fewer = dataclasses.replace(settings, examples=max(1, settings.examples // 5))
    names = tuple(f"class {label}" for label in range(settings.classes))
    train, test = (Split(*random_images(each)) for each in (settings, fewer))
    return Dataset("random", names, MEAN, STD, train, None, test)
