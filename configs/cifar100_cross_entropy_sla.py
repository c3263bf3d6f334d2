"""Cross-entropy with self-supervised label augmentation on CIFAR-100 with ResNet-18.

    python train.py --config configs/cifar100_cross_entropy_sla.py --workdir runs/cross_entropy_sla

250 epochs of 50,000 images, each in four rotations: a step reads 4 x 128 images. The thesis reports
77.52 % for the last epoch.
"""

import ml_collections

from skdsam_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    config = default_config()
    config.method.name = "cross_entropy_sla"
    config.data.name = "cifar100"
    return config
