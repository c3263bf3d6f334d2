"""The data every implementation trains on: random, so that no download is needed."""

import numpy as np

from benchmarks.settings import Settings


def random_images(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [examples, size, size, 3] and int32 labels [examples], always the same ones."""
    generator = np.random.default_rng(0)
    shape = (settings.examples, settings.image_size, settings.image_size, 3)
    labels = generator.integers(0, settings.classes, settings.examples, np.int32)
    return generator.integers(0, 256, shape, np.uint8), labels
