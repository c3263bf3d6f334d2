"""SKDSAM on Stanford Dogs at 224x224 with ResNet-18.

    python train.py --config configs/dogs.py --workdir runs/dogs

250 epochs of 12,000 photographs of 120 breeds; the thesis reports 71.21 % for the last epoch.
Batches are the thesis' 128; public code of CS-KD takes `--config.training.batch_size=32` for
photographs.
"""

import ml_collections

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config
from skdsam_jax.experiment.recipes import stream_photographs


def get_config(cell: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.data.name = "stanford_dogs"
    stream_photographs(config)
    use_cell(config, cell)
    return config
