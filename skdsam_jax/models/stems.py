"""The first layers of a network, for small images and for those of ImageNet's size."""

from typing import Unpack

import jax

from skdsam_jax.models.layers import ConvNorm
from skdsam_jax.models.operations import max_pool, relu
from skdsam_jax.models.settings import Settings

STEMS = ("small", "imagenet")


class Stem(ConvNorm):
    """Convolution, BN, ReLU and, in the one of ImageNet, pooling.

    "small" convolves 3x3 with stride 1 and keeps the size. "imagenet" convolves 7x7 with stride 2
    and takes the maximum of 3x3 pixels with stride 2 (He et al., https://arxiv.org/abs/1512.03385).

    Attributes:
      reduction: pixels of the input per pixel of the output, along one side.
    """

    def __init__(self, width: int, kind: str, **settings: Unpack[Settings]) -> None:
        """Creates the stem.

        Args:
          width: its filters.
          kind: a name of `STEMS`.
          **settings: see `Settings`.

        Raises:
          ValueError: no stem has that name.
        """
        if kind not in STEMS:
            raise ValueError(f"stem: takes one of {', '.join(STEMS)}, not {kind!r}")
        kernel_size, stride = (7, 2) if kind == "imagenet" else (3, 1)
        super().__init__(3, width, kernel_size, stride=stride, **settings)
        self.reduction = stride**2

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps images [batch, height, width, 3] to [..., width], reduced by `reduction`."""
        images = relu(super().__call__(images, train=train))
        return max_pool(images) if self.reduction == 4 else images
