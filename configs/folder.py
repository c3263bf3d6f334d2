"""SKDSAM on a folder of your own photographs, at 224x224 with ResNet-18.

    python train.py --config configs/folder.py --workdir runs/birds --config.data.data_dir=birds

The folder holds train/CLASS/* and test/CLASS/*. Where it holds CLASS/* alone,
`--config.data.test_fraction=0.2` keeps a fifth for testing. A step takes 32 photographs: a batch
must not be larger than the set, and a small set gives few steps per epoch. 250 epochs are the
thesis'; `--config.training.epochs=30` is a first look.
"""

import ml_collections

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config
from skdsam_jax.experiment.recipes import stream_photographs


def get_config(cell: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.data.name = "folder"
    stream_photographs(config)
    config.training.batch_size = 32
    config.evaluation.batch_size = 32
    use_cell(config, cell)
    return config
