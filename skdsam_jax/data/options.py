"""Which images, how many of them, and how training distorts them."""

import dataclasses

from skdsam_jax.options import ConfigError, option


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Settings of the data; `skdsam_jax.data.load_dataset` takes them.

    A padded crop of black pixels pads with zeros before normalisation, as `RandomCrop` followed
    by `Normalize` does in torchvision. `skdsam_jax.data.augmentation.distort` says in which order
    training distorts its images.

    Raises:
      ConfigError: two settings contradict each other.
    """

    name: str = option(
        "digits",
        "which set of images, a name of `skdsam_jax.data.DATASETS`, or module:Name of your own",
    )
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
        "processes that decode when streaming, in each process of the run; 0: none but itself; "
        "None: one per core, at most 16. They change no number of a run",
        minimum=0,
    )
    test_fraction: float | None = option(
        None,
        "part of every class that is kept for testing, where name=folder has no train and test",
        above=0.0,
        below=1.0,
    )
    skip_unreadable: bool = option(
        False, "of name=folder: leave out files that are no pictures, instead of refusing them"
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
    crop: str = option(
        "padded",
        "padded: pad and crop back to size; resized: crop 8 % to 100 % of the area and resize",
        choices=("padded", "resized"),
    )
    crop_padding: int = option(
        4,
        "pixels added on each side before a padded crop; 0: no padded crop. Without effect on "
        "crop=resized",
        minimum=0,
    )
    crop_fill: int = option(
        0,
        "level of the pixels that a padded crop adds: 0 black, 128 grey. Without effect on "
        "crop=resized, which adds none",
        minimum=0,
        maximum=255,
    )
    flip: bool = option(True, "mirror half of the training images left to right, at random")
    autoaugment: bool = option(False, "apply AutoAugment's policy for CIFAR-10")
    cutout: str = option(
        "none",
        "fill a random square of each image with black or with the mean",
        choices=("none", "black", "mean"),
    )
    cutout_size: int | None = option(
        None, "side of that square in pixels; None: half the image side", minimum=1
    )
    mixup_alpha: float = option(
        0.0,
        "mix pairs of images and of labels in the ratio Beta(alpha, alpha); 0: no Mixup",
        minimum=0,
    )
    cutmix_alpha: float = option(
        0.0,
        "paste a box of another image, and mix labels by its area, 1 - Beta(alpha, alpha); 0: no "
        "CutMix",
        minimum=0,
    )

    def __post_init__(self) -> None:
        if self.mixup_alpha and self.cutmix_alpha:
            raise ConfigError("config.data.cutmix_alpha: takes 0 with Mixup; a batch is mixed once")
        if self.pipeline == "streaming" and self.crop != "resized":
            raise ConfigError(f"config.data.crop: takes resized when streaming, not {self.crop}")
        if self.cutout_size is not None and self.cutout == "none":
            raise ConfigError(
                "config.data.cutout_size: takes effect only with config.data.cutout black or mean"
            )
