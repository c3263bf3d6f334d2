"""Cross-entropy on CIFAR-100 with ResNet-18: the baseline of configs/cifar100.py.

    python train.py --config configs/cifar100_cross_entropy.py --workdir runs/cifar100_cross_entropy

250 epochs of 50,000 images; the thesis reports 74.80 % for the last epoch.
"""

import ml_collections

from skdsam_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    config = default_config()
    config.method.name = "cross_entropy"
    config.data.name = "cifar100"
    return config
