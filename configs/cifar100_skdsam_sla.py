"""SKDSAM with self-supervised label augmentation on CIFAR-100 with ResNet-18.

    python train.py --config configs/cifar100_skdsam_sla.py --workdir runs/skdsam_sla

250 epochs of 50,000 images, each in four rotations: a step reads 4 x 128 images. The thesis reports
82.81 % for the last epoch.
"""

import ml_collections

from skdsam_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    config = default_config()
    config.method.name = "skdsam_sla"
    config.data.name = "cifar100"
    return config
