"""What training does to a batch of images, in order."""

import dataclasses

import jax
import jax.numpy as jnp

from skdsam_jax.data.augmentation import augment
from skdsam_jax.data.augmentation.autoaugment import random_autoaugment
from skdsam_jax.data.augmentation.mixing import random_cutmix, random_mixup
from skdsam_jax.data.augmentation.resized_crop import random_resized_crop
from skdsam_jax.data.options import DataOptions


@dataclasses.dataclass(frozen=True)
class Look:
    """What a network is given, whatever was done to it before.

    Attributes:
      size: height and width in pixels.
      mean: per channel, of pixels scaled to [0, 1].
      std: per channel, of pixels scaled to [0, 1].
      num_classes: the number of classes.
      dtype: floating type of the images.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int
    dtype: jax.typing.DTypeLike = jnp.float32


def distort(
    images: jax.Array,
    labels: jax.Array,
    *,
    key: jax.Array,
    options: DataOptions,
    look: Look,
    reads: int = 1,
    cropped: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Crops, flips, applies AutoAugment, cuts out black, normalises, cuts out the mean, mixes.

    What `options` does not ask for is left out; the order stays.

    Args:
      images: uint8 [batch, height, width, channels].
      labels: int32 [batch].
      key: decides everything that is random; each distortion has a key of its own, so that
        switching one on leaves what the others draw.
      options: which distortions, and how strong.
      look: what comes out; its size is that of `images` unless they are resized.
      reads: how many neighbouring images belong together and are mixed with those of one partner.
      cropped: whether the images were cropped when they were decoded, so that the rest is left.

    Returns:
      Normalised images [batch, *size, channels]; the labels, after Mixup or CutMix as float32
      probabilities [batch, num_classes].

    Raises:
      ValueError: images of another size that are not resized.
    """
    resized = options.crop == "resized" and not cropped
    if not resized and images.shape[1:3] != look.size:
        raise ValueError(
            f"images: {images.shape[1:3]} can become {look.size} only by a resized crop"
        )
    crop_key, flip_key, policy_key, cutout_key, mixing_key = jax.random.split(key, 5)
    cutout_size = options.cutout_size or min(look.size) // 2
    if resized:
        images = random_resized_crop(crop_key, images, look.size)
    elif options.crop_padding and not cropped:
        images = augment.random_crop(crop_key, images, options.crop_padding, options.crop_fill)
    if options.flip:
        images = augment.random_flip(flip_key, images)
    if options.autoaugment:
        images = random_autoaugment(policy_key, images)
    if options.cutout == "black":
        images = augment.random_cutout(cutout_key, images, cutout_size)
    images = augment.normalize(images, look.mean, look.std, look.dtype)
    if options.cutout == "mean":
        images = augment.random_cutout(cutout_key, images, cutout_size)
    classes = look.num_classes
    if options.mixup_alpha:
        return random_mixup(mixing_key, images, labels, options.mixup_alpha, classes, reads=reads)
    if options.cutmix_alpha:
        return random_cutmix(mixing_key, images, labels, options.cutmix_alpha, classes, reads=reads)
    return images, labels
