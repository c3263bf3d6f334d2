"""BYOT on CIFAR-100 with ResNet-18, in the recipe of configs/cifar100.py.

    python train.py --config configs/cifar100_byot.py --workdir runs/cifar100_byot

250 epochs of 50,000 images; the thesis reports 76.87 % for the last epoch.
"""

import ml_collections

from skdsam_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    config = default_config()
    config.method.name = "byot"
    config.data.name = "cifar100"
    return config
