"""Runs of seconds on some digits."""

import dataclasses
import pathlib
from typing import Any

import jax

import skdsam_jax
from skdsam_jax.experiment.config import default_config


@dataclasses.dataclass
class Finished:
    """A run's folder and its summary."""

    workdir: pathlib.Path
    summary: dict[str, Any]


def make_config(**fields):
    """The config of such a run; `fields` are flattened."""
    config = default_config()
    config.update_from_flattened_dict(
        {
            "method.name": "cross_entropy",
            "model.name": "tiny_resnet",
            "model.width": 4,
            "data.train_examples": 32,
            "training.batch_size": 16,
            "training.epochs": 1,
            "training.learning_rate": 0.01,
            "logging.tensorboard": False,
        }
        | fields
    )
    return config


def train(workdir, *, verbose=False, **fields):
    """Trains what `make_config` describes, on one device."""
    config = make_config(**fields)
    summary = skdsam_jax.train(config, workdir, devices=jax.devices()[:1], verbose=verbose)
    return Finished(workdir, summary)
