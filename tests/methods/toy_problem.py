"""A set of images that any method learns in seconds, and experiments on it."""

import functools
from typing import Any

import numpy as np

from skdsam_jax.data import Dataset, Split
from skdsam_jax.experiment.config import Experiment, default_config, from_config_dict
from skdsam_jax.models import BACKBONES, BasicBlock, ResNet

CLASSES, EXAMPLES, BATCH, SIZE = 4, 32, 16, 16

TINY = "tiny_resnet"
"""Three stages of one block: compiling dominates the time of these tests."""

BACKBONES.setdefault(TINY, functools.partial(ResNet, BasicBlock, (1, 1, 1)))


def make_dataset() -> Dataset:
    """Classes that differ in colour."""
    generator = np.random.default_rng(0)
    labels = (np.arange(EXAMPLES) % CLASSES).astype(np.int32)
    colours = generator.uniform(40, 215, (CLASSES, 1, 1, 3))
    images = colours[labels] + generator.normal(0, 20, (EXAMPLES, SIZE, SIZE, 3))
    split = Split(images.clip(0, 255).astype(np.uint8), labels)
    names = tuple(f"colour {label}" for label in range(CLASSES))
    return Dataset("toy", names, (0.5,) * 3, (0.25,) * 3, split, None, split)


def make_experiment(
    method: str, *, epochs: int, mixup_alpha: float = 0.0, **options: Any
) -> Experiment:
    """A method with some of its options on the tiny backbone."""
    config = default_config()
    config.method.name = method
    config.model.name, config.model.width = TINY, 4
    config.data.crop_padding, config.data.flip = 0, False
    config.data.mixup_alpha = mixup_alpha
    config.training.batch_size, config.training.epochs = BATCH, epochs
    config.training.learning_rate = 0.02
    config.evaluation.batch_size = EXAMPLES
    for name, value in options.items():
        config.method[name] = value
    return from_config_dict(config)
