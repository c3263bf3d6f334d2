"""Finished runs on digits, as small as they can be."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import skdsam_jax
from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.experiment.config import default_config


@dataclasses.dataclass
class Finished:
    """A run's folder, its summary and its network."""

    workdir: pathlib.Path
    summary: dict[str, Any]

    @property
    def trained(self):
        return skdsam_jax.load(self.workdir)


def train(workdir, method, **fields):
    config = default_config()
    config.method.name = method
    config.update_from_flattened_dict(
        {
            "model.name": "wrn10_1",
            "model.width": 4,
            "data.train_examples": 192,
            "training.batch_size": 16,
            "training.epochs": 2,
            "training.learning_rate": 0.03,
            "logging.tensorboard": False,
            "evaluation.batch_size": 128,
        }
        | fields
    )
    summary = skdsam_jax.train(config, workdir, devices=jax.devices()[:1], verbose=False)
    return Finished(workdir, summary)


@pytest.fixture(scope="session", name="train")
def train_fixture():
    """Trains a method on digits, in a folder."""
    return train


@pytest.fixture(scope="session")
def byot(tmp_path_factory):
    """Three exits and a validation split."""
    workdir = tmp_path_factory.mktemp("byot") / "run"
    return train(workdir, "byot", **{"data.validation_fraction": 0.1})


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """One exit, which computes in bfloat16, and no validation split."""
    workdir = tmp_path_factory.mktemp("plain") / "run"
    return train(workdir, "cross_entropy", **{"training.compute_dtype": "bfloat16"})


@pytest.fixture(scope="session")
def test_split():
    return load_dataset(DataOptions(), 0).test


@pytest.fixture(scope="session")
def pictures(test_split, tmp_path_factory):
    """A folder of class folders with the first test images, named so that files sort as they do."""
    root = tmp_path_factory.mktemp("pictures") / "digits"
    for number, (image, label) in enumerate(
        zip(test_split.images[:40], test_split.labels[:40], strict=True)
    ):
        folder = root / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:02}.png")
    assert len(list(root.iterdir())) == 10
    return root


@pytest.fixture
def images(test_split):
    """Some more than fill batches of 8."""
    chosen = test_split.images[:37]
    assert chosen.dtype == np.uint8
    return chosen
