"""Tiny networks in the library's tables, and a run that trained one of them."""

import dataclasses
import pathlib
from typing import Any

import fabricated
import jax
import pytest

import skdsam_jax
from skdsam_jax.experiment.config import default_config


@pytest.fixture(autouse=True, scope="package")
def _tiny_networks():
    with fabricated.registered():
        yield


@dataclasses.dataclass
class Finished:
    """A run's folder and its summary."""

    workdir: pathlib.Path
    summary: dict[str, Any]


def make_config(**fields):
    """A run of seconds on some digits; `fields` are of the config, flattened."""
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


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Ten digits, the stem of ImageNet, two checkpoints; no test may change it."""
    fields = {"model.stem": "imagenet", "checkpoint.every_minutes": 0.0}
    with fabricated.registered():
        return train(tmp_path_factory.mktemp("run") / "digits", **fields)
