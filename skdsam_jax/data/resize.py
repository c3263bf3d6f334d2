"""Resizing of whole sets of images on the host."""

import numpy as np
from PIL import Image


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resizes images with Pillow's bilinear filter, which widens when it shrinks (antialiasing).

    Args:
      images: uint8 [examples, height, width, channels] with 1 or 3 channels.
      size: height and width of the result in pixels.

    Returns:
      uint8 [examples, size, size, channels]; `images` itself where nothing changes.
    """
    count, height, width, channels = images.shape
    if (height, width) == (size, size):
        return images
    resized = np.empty((count, size, size, channels), np.uint8)
    for source, target in zip(images, resized, strict=True):
        # Pillow takes and gives a single channel without its axis.
        image = Image.fromarray(source[..., 0] if channels == 1 else source)
        image = image.resize((size, size), Image.Resampling.BILINEAR)
        target[...] = np.asarray(image).reshape(size, size, channels)
    return resized
