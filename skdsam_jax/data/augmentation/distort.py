"""What training does to a batch of images, in order."""

from collections.abc import Sequence

import jax

from skdsam_jax.data.augmentation import augment
from skdsam_jax.data.augmentation.autoaugment import random_autoaugment
from skdsam_jax.data.augmentation.mixup import random_mixup
from skdsam_jax.data.augmentation.resized_crop import random_resized_crop
from skdsam_jax.data.options import DataOptions


def distort(
    images: jax.Array,
    labels: jax.Array,
    *,
    key: jax.Array,
    options: DataOptions,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    num_classes: int,
    dtype: jax.typing.DTypeLike,
) -> tuple[jax.Array, jax.Array]:
    """Crops, flips, applies AutoAugment, cuts out black, normalises, cuts out the mean, mixes.

    What `options` does not ask for is left out; the order stays.

    Args:
      images: uint8 [batch, height, width, channels].
      labels: int32 [batch].
      key: decides everything that is random; each distortion has a key of its own, so that
        switching one on leaves what the others draw.
      options: which distortions, and how strong.
      size: height and width of the result; those of `images` unless they are resized.
      mean: as in `augment.normalize`.
      std: as in `augment.normalize`.
      num_classes: the number of classes.
      dtype: floating type of the images.

    Returns:
      Normalised images [batch, *size, channels]; the labels, after Mixup as float32 probabilities
      [batch, num_classes].

    Raises:
      ValueError: images of another size that are not resized.
    """
    if options.crop != "resized" and images.shape[1:3] != size:
        raise ValueError(f"images: {images.shape[1:3]} can become {size} only by a resized crop")
    crop_key, flip_key, policy_key, cutout_key, mixup_key = jax.random.split(key, 5)
    cutout_size = options.cutout_size or min(size) // 2
    if options.crop == "resized":
        images = random_resized_crop(crop_key, images, size)
    elif options.crop_padding:
        images = augment.random_crop(crop_key, images, options.crop_padding, options.crop_fill)
    if options.flip:
        images = augment.random_flip(flip_key, images)
    if options.autoaugment:
        images = random_autoaugment(policy_key, images)
    if options.cutout == "black":
        images = augment.random_cutout(cutout_key, images, cutout_size)
    images = augment.normalize(images, mean, std, dtype)
    if options.cutout == "mean":
        images = augment.random_cutout(cutout_key, images, cutout_size)
    if options.mixup_alpha:
        return random_mixup(mixup_key, images, labels, options.mixup_alpha, num_classes)
    return images, labels
