"""SKDSAM on Tiny ImageNet at its own 64x64 with ResNet-18.

    python train.py --config configs/tiny_imagenet64.py --workdir runs/tiny_imagenet64

250 epochs of 100,000 images of 200 classes, four times as dear as `configs/tiny_imagenet.py`, whose
numbers do not compare. Crops are padded by 8 pixels, the share of the side that 4 are at 32.
"""

import ml_collections

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config


def get_config(cell: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.data.name = "tiny_imagenet"
    config.data.crop_padding = 8
    use_cell(config, cell)
    return config
