"""SKDSAM on the rooms of MIT Indoor 67 at 224x224 with ResNet-18.

    python train.py --config configs/mit67.py --workdir runs/mit67

250 epochs of 5,360 photographs of 67 kinds of rooms; the thesis reports 61.90 % for the last epoch.
Batches are the thesis' 128; public code of CS-KD takes `--config.training.batch_size=32` for
photographs.
"""

import ml_collections

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config
from skdsam_jax.experiment.recipes import stream_photographs


def get_config(cell: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.data.name = "mit_indoor67"
    stream_photographs(config)
    use_cell(config, cell)
    return config
