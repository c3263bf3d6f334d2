"""The digits that come with scikit-learn: a real set that needs no download.

1,797 handwritten digits of 8x8 pixels with 17 grey levels, the test part of the UCI set
"Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998).
"""

import importlib.metadata
from collections.abc import Mapping

import numpy as np

from skdsam_jax.data.dataset import Dataset, Split
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.resize import resize
from skdsam_jax.data.sources.cache import load_or_make
from skdsam_jax.options import ConfigError

# Four stages halve the image three times; 8x8 would leave the deepest a single pixel.
_OWN_SIZE = 16
# In scikit-learn: the 64 grey levels of a digit and what it is, line by line.
_FILE = "sklearn/datasets/data/digits.csv.gz"


def load_digits(options: DataOptions) -> Dataset:
    """Loads scikit-learn's digits.

    Grey levels 0..16 become 0..255 and are repeated over three channels; the images are enlarged
    bilinearly. Every fifth example of each class is a test example: 1,442 for training and 355
    for testing, always the same.

    Args:
      options: of them only `image_size` counts, the side in pixels; None: 16.

    Returns:
      The dataset; its mean and std are those of the training split.

    Raises:
      ConfigError: the digits were to be streamed.
    """
    if options.pipeline == "streaming":
        raise ConfigError("config.data.pipeline: digits are resident, there is nothing to stream")
    entry = f"digits-scikit-learn-{importlib.metadata.version('scikit-learn')}.npz"
    levels, labels = load_or_make(entry, _read, lambda arrays: (arrays["levels"], arrays["labels"]))
    grey = np.round(levels * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    images = np.repeat(resize(grey, options.image_size or _OWN_SIZE), 3, axis=3)
    is_test = np.zeros(len(labels), bool)
    for label in range(10):
        is_test[np.flatnonzero(labels == label)[4::5]] = True
    train = Split(images[~is_test], labels[~is_test])
    pixels = train.images / 255.0
    return Dataset(
        name="digits",
        class_names=tuple(map(str, range(10))),
        mean=tuple(pixels.mean(axis=(0, 1, 2)).tolist()),
        std=tuple(pixels.std(axis=(0, 1, 2)).tolist()),
        train=train,
        validation=None,
        test=Split(images[is_test], labels[is_test]),
    )


def _read() -> Mapping[str, np.ndarray]:
    """Grey levels uint8 [examples, 8, 8] and labels int32 [examples]."""
    # The file alone: scikit-learn takes more than a second to import.
    file = importlib.metadata.distribution("scikit-learn").locate_file(_FILE)
    rows = np.loadtxt(file, delimiter=",")
    levels, labels = rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]
    return {"levels": levels.astype(np.uint8), "labels": labels.astype(np.int32)}
