"""Augmentation of whole batches on the device, in PyTorch."""

import functools

import torch

from benchmarks.settings import MEAN, STD


def distort(images: torch.Tensor, padding: int) -> torch.Tensor:
    """Crops at random and mirrors half of the images.

    Args:
      images: uint8 [batch, height, width, channels].
      padding: black pixels on each side before the crop.
    """
    device = images.device
    offsets = torch.randint(0, 2 * padding + 1, (len(images), 2), device=device)
    mirrored = torch.rand(len(images), device=device) < 0.5
    return flip(crop(images, offsets, padding), mirrored)


def crop(images: torch.Tensor, offsets: torch.Tensor, padding: int) -> torch.Tensor:
    """Pads with zeros and crops back to size at `offsets` [batch, 2]."""
    batch, height, width, _ = images.shape
    padded = torch.nn.functional.pad(images, (0, 0, padding, padding, padding, padding))
    rows = offsets[:, :1] + torch.arange(height, device=images.device)
    columns = offsets[:, 1:] + torch.arange(width, device=images.device)
    image = torch.arange(batch, device=images.device)
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]


def flip(images: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """Mirrors the images for which bool [batch] `mirrored` is true."""
    return torch.where(mirrored[:, None, None, None], images.flip(2), images)


def normalize(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """uint8 [batch, height, width, channels] to [batch, channels, height, width], channels_last."""
    mean, deviation = _statistics(images.device, dtype)
    return ((images.to(dtype) / 255 - mean) / deviation).permute(0, 3, 1, 2)


@functools.cache
def _statistics(device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """On the device once: a copy per step would wait for it."""
    return tuple(torch.tensor(values, dtype=dtype, device=device) for values in (MEAN, STD))
