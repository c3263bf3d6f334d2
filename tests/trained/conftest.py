"""Two finished runs, as small as they can be, and the one that version 0.1.0 left."""

import dataclasses
import gc
import io
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import skdsam_jax
from skdsam_jax.experiment.config import default_config

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "version_0_1_0"


@dataclasses.dataclass
class Finished:
    """A run's folder and its summary; `pictures` of its test set and their labels if it has any."""

    workdir: pathlib.Path
    summary: dict[str, Any]
    pictures: list[pathlib.Path] = dataclasses.field(default_factory=list)
    labels: list[int] = dataclasses.field(default_factory=list)


def _train(workdir, devices, **fields):
    config = default_config()
    config.update_from_flattened_dict(
        {
            "method.name": "cross_entropy",
            "model.name": "wrn10_1",
            "model.width": 4,
            "training.batch_size": 16,
            "training.epochs": 3,
            "logging.tensorboard": False,
        }
        | fields
    )
    summary = skdsam_jax.train(config, workdir, devices=devices, verbose=False)
    return Finished(workdir, summary)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """On one device, with a validation split; keeps the checkpoints of all epochs."""
    fields = {
        "data.train_examples": 32,
        "data.validation_fraction": 0.1,
        "checkpoint.every_minutes": 0.0,
        "checkpoint.keep_latest": 9,
        "training.learning_rate": 0.03,
    }
    return _train(tmp_path_factory.mktemp("digits") / "run", jax.devices()[:1], **fields)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Streamed on two devices; the folder of pictures was moved away afterwards."""
    root = tmp_path_factory.mktemp("photographs") / "colours"
    _write_photographs(root)
    fields = {
        "data.name": "folder",
        "data.data_dir": str(root),
        "data.pipeline": "streaming",
        "data.crop": "resized",
        "data.image_size": 16,
        "data.workers": 0,
        "evaluation.batch_size": 16,
    }
    run = _train(root.parent / "run", jax.devices()[:2], **fields)
    moved = root.rename(root.with_name("moved"))
    run.pictures = sorted((moved / "test").glob("*/*"))
    run.labels = [("blue", "red").index(path.parent.name) for path in run.pictures]
    return run


def _write_photographs(root):
    """Upright, wide, turned and grey, from 16 pixels to sizes of which a JPEG decodes a part."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 10)):
        for label, name in enumerate(("blue", "red")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                shape = (16 + 30 * (number % 5), 20 + 12 * number, 3)
                pixels = generator.integers(0, 200, shape, np.uint8)
                pixels[..., 2 * (1 - label)] += 55
                exif = Image.Exif()
                exif[0x0112] = 1 + number % 8
                picture = Image.fromarray(pixels)
                if number == 3:
                    picture = picture.convert("L")
                encoded = io.BytesIO()
                picture.save(encoded, "jpeg" if number % 4 else "png", exif=exif)
                (root / split / name / f"{number}.jpg").write_bytes(encoded.getvalue())


@pytest.fixture
def old_workdir(tmp_path):
    """A copy of the run of version 0.1.0."""
    return shutil.copytree(FIXTURE, tmp_path / "old")


@pytest.fixture
def workdir(digits, tmp_path):
    """A copy of the run on digits, to be damaged."""
    return shutil.copytree(digits.workdir, tmp_path / "copy")


@pytest.fixture
def abandoned_reads():
    """When a read fails Orbax abandons its others, which complain when they are collected."""
    yield
    gc.collect()
