"""How a picture becomes an image such as a network was evaluated on."""

import dataclasses
import os
import pathlib

import numpy as np
from PIL import Image

from skdsam_jax.data.pictures import PictureError, central_box, crop, open_picture, pixels
from skdsam_jax.data.resize import resize
from skdsam_jax.options import ConfigError

# Anything `Preparation` takes: a file's path, its bytes, or a picture that Pillow has opened.
Picture = str | os.PathLike[str] | bytes | Image.Image


@dataclasses.dataclass(frozen=True)
class Preparation:
    """The central square of a picture, resized: what evaluation looks at.

    Attributes:
      side: height and width of the result in pixels.
      share: of the picture's shorter side that the square takes.
      reduced: whether a JPEG much larger than needed is decoded at a part of its size, as
        photographs are; sets whose images are of one size are decoded as they are.
    """

    side: int
    share: float
    reduced: bool

    def __call__(self, picture: Picture) -> np.ndarray:
        """Prepares one picture.

        Args:
          picture: a file's path or its bytes; or an opened picture, whose pixels are then taken
            as they are, at full size.

        Returns:
          uint8 [side, side, 3].

        Raises:
          ConfigError: it is no picture, or damaged; the message names its file.
        """
        if isinstance(picture, (str, os.PathLike)):
            name = f"{os.fspath(picture)}:"
            try:
                picture = pathlib.Path(picture).read_bytes()
            except OSError as error:
                raise ConfigError(f"{name} cannot be read ({error.strerror})") from None
        else:
            name = "picture:"
        try:
            # A copy, because decoding at a part of its size changes an opened picture.
            image = open_picture(picture) if isinstance(picture, bytes) else picture.copy()
            if self.reduced:
                return crop(image, central_box(image.size, self.share), self.side)
            decoded = pixels(image)
        except PictureError as error:
            raise ConfigError(f"{name} {error}") from error
        left, upper, right, lower = central_box(decoded.shape[1::-1], self.share)
        return resize(decoded[None, upper:lower, left:right], self.side)[0]
