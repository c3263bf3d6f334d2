"""SKDSAM on the birds of CUB-200 at 224x224 with ResNet-18.

    python train.py --config configs/cub200.py --workdir runs/cub200

250 epochs of 5,994 photographs of 200 species; the thesis reports 65.20 % for the last epoch, and
65.39 % for a peer. This is the edition of 2011, on which the peers' numbers are. The text of the
thesis describes the one of 2010, of 6,033 photographs: `--config.data.name=caltech_birds2010`.
Batches are the thesis' 128; public code of CS-KD takes `--config.training.batch_size=32` for
photographs.
"""

import ml_collections

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config
from skdsam_jax.experiment.recipes import stream_photographs


def get_config(cell: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.data.name = "caltech_birds2011"
    stream_photographs(config)
    use_cell(config, cell)
    return config
