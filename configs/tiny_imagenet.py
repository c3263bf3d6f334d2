"""SKDSAM on Tiny ImageNet at 32x32 with ResNet-18: the thesis' recipe.

    python train.py --config configs/tiny_imagenet.py --workdir runs/tiny_imagenet

250 epochs of 100,000 images of 200 classes; the thesis reports 60.42 % for the last epoch in its
table 4.7 and 60.02 % in 4.13. It does not say at which size; its peers train as is done here, on
random-resized crops of 32 pixels from the originals of 64, and test on shrunken ones.
`configs/tiny_imagenet64.py` keeps the 64 pixels.
"""

import ml_collections

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config


def get_config(cell: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.data.name = "tiny_imagenet"
    config.data.image_size = 32
    config.data.crop = "resized"
    use_cell(config, cell)
    return config
