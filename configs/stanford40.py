"""SKDSAM on Stanford 40 Actions at 224x224 with ResNet-18.

    python train.py --config configs/stanford40.py --workdir runs/stanford40

250 epochs of 4,000 photographs of 40 actions; the thesis reports 58.02 % for the last epoch.
Batches are the thesis' 128; public code of CS-KD takes `--config.training.batch_size=32` for
photographs.
"""

import ml_collections

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config
from skdsam_jax.experiment.recipes import stream_photographs


def get_config(cell: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.data.name = "stanford40_actions"
    stream_photographs(config)
    use_cell(config, cell)
    return config
