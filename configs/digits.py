"""SKDSAM on scikit-learn's handwritten digits, which need no download.

    python train.py --config configs/digits.py --workdir runs/digits

About two minutes on two CPU cores; 0.98 of the test images in the last epoch.
"""

import ml_collections

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config


def get_config(cell: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.width = 8
    config.training.epochs = 60
    config.training.batch_size = 64
    config.data.flip = False
    config.data.crop_padding = 2
    use_cell(config, cell)
    return config
