"""A set of images that any method learns in seconds, and experiments on it."""

import atexit
import contextlib
import functools
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from skdsam_jax.data import DATASETS, Dataset, Split
from skdsam_jax.experiment.config import Experiment, default_config, from_config_dict
from skdsam_jax.models import BACKBONES, BasicBlock, ResNet
from skdsam_jax.models.layers import ConvNorm
from skdsam_jax.training import train

CLASSES, EXAMPLES, BATCH, SIZE = 4, 32, 16, 8

TINY = "tiny_resnet"
"""Three stages of one small block: compiling dominates the time of these tests."""


class SmallBlock(BasicBlock):
    """A single 3x3 convolution beside the shortcut."""

    def units(self, in_features, width, stride, settings):
        return [ConvNorm(in_features, width, 3, stride=stride, **settings)]


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Backbone and set stand in the library's tables; other tests must not find them there."""
    BACKBONES[TINY] = functools.partial(ResNet, SmallBlock, (1, 1, 1))
    DATASETS["toy"] = lambda options: make_dataset()
    yield
    del BACKBONES[TINY], DATASETS["toy"]


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
    config.method.name, config.data.name = method, "toy"
    config.model.name, config.model.width = TINY, 4
    config.data.crop_padding, config.data.flip = 0, False
    config.data.mixup_alpha = mixup_alpha
    config.training.batch_size, config.training.epochs = BATCH, epochs
    config.training.learning_rate, config.training.decay_at = 0.02, ()
    config.evaluation.batch_size = EXAMPLES
    if method == "knowledge_distillation":
        config.method.teacher = teacher()
    for name, value in options.items():
        config.method[name] = value
    return from_config_dict(config)


@functools.cache
def teacher() -> str:
    """The workdir of a run that knows the colours, gone with the process."""
    folder = tempfile.TemporaryDirectory(prefix="teacher-")
    atexit.register(folder.cleanup)
    train(
        make_experiment("cross_entropy", epochs=3),
        folder.name,
        devices=jax.devices()[:1],
        verbose=False,
    )
    return folder.name
