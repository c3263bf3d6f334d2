"""SKDSAM on CIFAR-100 with ResNet-18: the thesis' recipe.

    python train.py --config configs/cifar100.py --workdir runs/cifar100

250 epochs of 50,000 images; the thesis reports 80.51 % for the last epoch. Public code of this
family reaches 77.3-78.7 % with this augmentation (crop and flip), and 80.6-81.3 % with its own:
`--config configs/cifar100.py:lab`.
"""

import ml_collections

from skdsam_jax.config import default_config
from skdsam_jax.recipes import use_recipe


def get_config(recipe: str = "thesis") -> ml_collections.ConfigDict:
    config = default_config()
    config.data.name = "cifar100"
    use_recipe(config, recipe)
    return config
