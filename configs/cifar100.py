"""SKDSAM on CIFAR-100 with ResNet-18: the thesis' recipe.

    python train.py --config configs/cifar100.py --workdir runs/cifar100

250 epochs of 50,000 images; the thesis reports 80.51 % for the last epoch. Public code of this
family reaches 77.3-78.7 % with this augmentation (crop and flip), and 80.6-81.3 % with its own,
`recipe=lab`. Other cells of the thesis' tables stand behind a colon, in any order:

    --config configs/cifar100.py:backbone=wrn16_2,method=byot,recipe=lab,augment=mixup
"""

import ml_collections

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config


def get_config(cell: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.data.name = "cifar100"
    use_cell(config, cell)
    return config
