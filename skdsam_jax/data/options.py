"""Which images, how many of them, and how training distorts them."""

import dataclasses

from skdsam_jax.data.catalogue import DATASETS
from skdsam_jax.options import option


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Settings of the data; `skdsam_jax.data.load_dataset` takes them.

    The crop pads with black pixels, that is zeros before normalisation, as `RandomCrop` followed
    by `Normalize` does in torchvision.
    """

    name: str = option("digits", "which set of images", choices=tuple(sorted(DATASETS)))
    data_dir: str | None = option(
        None,
        "folder with prepared TFDS sets; None: $TFDS_DATA_DIR, or else ~/tensorflow_datasets "
        "(digits is embedded and reads no folder); with name=folder, the folder of your images",
    )
    image_size: int | None = option(
        None,
        "side in pixels to which images are resized; None: the set's own, 32 for CIFAR, 64 for "
        "Tiny ImageNet and, enlarged from 8, 16 for digits; 224 when streaming",
        minimum=8,
    )
    pipeline: str = option(
        "resident",
        "resident: decoded once and kept on the device; streaming: photographs decoded anew in "
        "every epoch by worker processes, each a random crop, resized",
        choices=("resident", "streaming"),
    )
    workers: int | None = option(
        None,
        "processes that decode when streaming; 0: none but training's own; None: one per core. "
        "They change no number of a run",
        minimum=0,
    )
    test_fraction: float | None = option(
        None,
        "part of every class that is kept for testing, where name=folder has no train and test",
        above=0.0,
        below=1.0,
    )
    validation_fraction: float = option(
        0.0,
        "part of the training split, equal in every class, that is held out for validation",
        minimum=0.0,
        below=1.0,
    )
    train_examples: int | None = option(
        None,
        "how many examples to train on, each class keeping its share; None: all that the "
        "validation split leaves",
        minimum=1,
    )
    crop_padding: int = option(
        4, "black pixels added on each side before a random crop; 0: no crop", minimum=0
    )
    flip: bool = option(True, "mirror half of the training images left to right, at random")
