"""Encoded pictures of any kind and size, turned into uint8 RGB arrays.

Nothing here imports JAX, TFDS or Grain: worker processes decode with it.
"""

import io
import math

import numpy as np
from PIL import Image

# (left, upper, right, lower) in pixels, as Pillow has it.
Box = tuple[float, float, float, float]

_SMALLEST = 8

# Of the shorter side, what evaluation looks at: resized to 256, the central 224.
CENTRAL_SHARE = 224 / 256

# torchvision's defaults: shares of the area, and width / height.
_SHARES = (0.08, 1.0)
_RATIOS = (3 / 4, 4 / 3)

# EXIF's orientation: how the pixels must be turned to stand upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(ValueError):
    """Bytes that are no usable picture; the message says why, in one line and without a name."""


def open_picture(encoded: bytes) -> Image.Image:
    """Reads a picture's header.

    Args:
      encoded: a file's bytes, in any format that Pillow reads.

    Returns:
      The picture, its pixels not decoded yet.

    Raises:
      PictureError: no bytes, no picture, or less than 8 pixels on a side.
    """
    if not encoded:
        raise PictureError("is empty")
    try:
        image = Image.open(io.BytesIO(encoded))
    # Pillow's formats raise whatever they stumble over.
    except Exception as error:
        raise PictureError("is no picture that can be read") from error
    if min(image.size) < _SMALLEST:
        width, height = image.size
        raise PictureError(
            f"is {width}x{height} pixels, at least {_SMALLEST}x{_SMALLEST} are needed"
        )
    return image


def pixels(image: Image.Image) -> np.ndarray:
    """Decodes a picture at its own size.

    Grey, palette and CMYK become RGB, 16 bits become 8, transparent parts white, and what EXIF
    says about the orientation is done.

    Args:
      image: from `open_picture`.

    Returns:
      uint8 [height, width, 3].

    Raises:
      PictureError: the picture is damaged.
    """
    return np.asarray(_upright(_decoded(image), image))


def crop(image: Image.Image, box: Box, side: int) -> np.ndarray:
    """Decodes a part of a picture, as `pixels` does, and resizes it.

    Pillow's bilinear filter widens when it shrinks. A JPEG much larger than needed is decoded at a
    half, a quarter or an eighth of its size, never at less than twice what is asked for.

    Args:
      image: from `open_picture`.
      box: the part, in pixels of the picture as it is stored, before EXIF's orientation.
      side: height and width of the result in pixels.

    Returns:
      uint8 [side, side, 3].

    Raises:
      PictureError: the picture is damaged.
    """
    width, height = image.size
    enlarged = 2 * side / min(box[2] - box[0], box[3] - box[1])
    image.draft(None, (round(width * enlarged), round(height * enlarged)))
    decoded = _decoded(image)
    across, down = decoded.width / width, decoded.height / height
    part = decoded.crop(
        (
            round(box[0] * across),
            round(box[1] * down),
            round(box[2] * across),
            round(box[3] * down),
        )
    )
    return np.asarray(_upright(part.resize((side, side), Image.Resampling.BILINEAR), image))


def central_box(size: tuple[int, int], share: float = 1.0) -> Box:
    """The square in the middle of a picture.

    Args:
      size: width and height of the picture.
      share: of the shorter side that the square takes.

    Returns:
      The square, in whole pixels.
    """
    width, height = size
    side = max(1, round(min(size) * share))
    left, upper = (width - side) // 2, (height - side) // 2
    return left, upper, left + side, upper + side


def random_box(size: tuple[int, int], uniforms: np.ndarray) -> Box:
    """A random rectangle of a picture, drawn as torchvision's `RandomResizedCrop` draws it.

    The first attempt that fits counts: an area uniform on 8 % to 100 % of the picture's, a
    logarithm of width / height uniform between those of 3/4 and 4/3, sides rounded to pixels. The
    place is uniform. Where none fits: the largest central rectangle of a permitted ratio.

    Args:
      size: width and height of the picture.
      uniforms: floating [attempts, 4] in [0, 1): of each attempt the area, the ratio, and the
        place across and down.

    Returns:
      The rectangle, in whole pixels.
    """
    width, height = size
    smallest, largest = _SHARES
    narrowest, widest = map(math.log, _RATIOS)
    for area, ratio, across, down in uniforms.tolist():
        area = (smallest + area * (largest - smallest)) * width * height
        ratio = math.exp(narrowest + ratio * (widest - narrowest))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, upper = int(across * (width - wide + 1)), int(down * (height - high + 1))
            return left, upper, left + wide, upper + high
    wide = min(width, round(height * _RATIOS[1]))
    high = min(height, round(width / _RATIOS[0]))
    left, upper = (width - wide) // 2, (height - high) // 2
    return left, upper, left + wide, upper + high


def _decoded(image: Image.Image) -> Image.Image:
    """The pixels as RGB, not turned."""
    try:
        if image.has_transparency_data:
            picture = image.convert("RGBA")
            background = Image.new("RGBA", picture.size, "white")
            return Image.alpha_composite(background, picture).convert("RGB")
        if image.mode == "I" or image.mode.startswith("I;16"):
            # Pillow would clip at 255 instead of scaling.
            grey = np.asarray(image).astype(np.uint32) >> 8
            return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
        return image.convert("RGB")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"cannot be decoded ({reason})") from error


def _upright(picture: Image.Image, original: Image.Image) -> Image.Image:
    try:
        orientation = original.getexif().get(_ORIENTATION)
    # Damaged EXIF data says nothing about the pixels.
    except Exception:
        return picture
    return picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture
