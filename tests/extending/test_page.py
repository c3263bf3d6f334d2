"""docs/extending.md: its files are trained as its commands say, only smaller, and loaded again."""

import json
import pathlib

import jax
import numpy as np
import pytest
from extending_page import COMMANDS, FILES
from PIL import Image

import skdsam_jax
from skdsam_jax.commands import train
from skdsam_jax.experiment.config import default_config
from skdsam_jax.models import OwnBackbone

pytestmark = pytest.mark.filterwarnings(  # ml_collections' loader
    "ignore:.*load_module.*:DeprecationWarning"
)

SMALL = (
    "--config.training.epochs=1",
    "--config.training.batch_size=16",
    "--config.training.steps_per_dispatch=1",
    "--config.evaluation.batch_size=64",
    "--config.data.train_examples=32",
    "--config.logging.tensorboard=False",
)
TINY = ("--config.model.name=wrn10_1", "--config.model.width=4")


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
    """Programs for eight take longer to compile."""
    devices = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *backend: devices)


def _train(flags):
    assert train.main([*flags, *SMALL]) == 0
    workdir = flags[flags.index("--workdir") + 1]
    summary = json.loads(pathlib.Path(workdir, "summary.json").read_text())
    return skdsam_jax.load(workdir), summary


def test_the_page_has_these_files_and_commands():
    assert list(FILES) == ["plain.py", "penalty.py", "stripes.py", "drawn.py"]
    assert len(COMMANDS) == 5


@pytest.mark.parametrize(
    ("workdir", "method"),
    [pytest.param("plain", "skdsam", marks=pytest.mark.slow), ("plain_byot", "byot")],
)
def test_a_plain_backbone_of_stock_layers(folder, command_of, workdir, method):
    flags = [*command_of(f"runs/{workdir}"), "--config.model.width=4"]
    trained, summary = _train(flags)
    assert (summary["model"], summary["method"], summary["steps"]) == ("plain:Plain", method, 2)
    assert trained.params_digest == summary["params_digest"]
    backbone = trained.classifier.backbone
    assert isinstance(backbone, OwnBackbone)
    assert type(backbone.network).__name__ == "Plain"
    assert (backbone.channels, backbone.reductions) == ((4, 8, 16, 32), (2, 4, 8, 16))
    assert type(trained.method()).__module__ == f"skdsam_jax.methods.{method}"
    images = np.random.default_rng(0).integers(0, 256, (3, *trained.image_shape), np.uint8)
    np.testing.assert_array_equal(trained.logits(images), trained.logits(images))
    assert np.isfinite(trained.predict(images)).all()


# The quick run resumes one whose backbone is of the library.
@pytest.mark.slow
def test_a_run_that_is_stopped_drops_out_as_if_it_were_not(folder):
    config = default_config()
    config.update_from_flattened_dict(
        {
            "method.name": "cross_entropy",
            "model.name": "plain:Plain",
            "model.width": 4,
            "data.train_examples": 32,
            "training.batch_size": 16,
            "training.epochs": 2,
            "training.learning_rate": 0.02,
            "logging.tensorboard": False,
        }
    )
    whole = skdsam_jax.train(config, "whole", verbose=False)
    skdsam_jax.train(config, "parts", stop_after_epochs=1, verbose=False)
    parts = skdsam_jax.train(config, "parts", verbose=False)
    assert parts["params_digest"] == whole["params_digest"]
    state = skdsam_jax.load("whole").model_state["classifier"]["backbone"]["network"]
    assert set(state) == {"norms"}


def test_a_method_with_an_option(folder, command_of):
    trained, summary = _train([*command_of("runs/penalty"), *TINY])
    assert summary["method"] == "penalty:ConfidencePenalty"
    assert summary["config"]["method"] == {"name": "penalty:ConfidencePenalty", "penalty": 0.2}
    method = trained.method()
    assert (type(method).__name__, method.options.penalty) == ("ConfidencePenalty", 0.2)
    line = json.loads(pathlib.Path("runs/penalty/metrics.jsonl").read_text())
    entropy, cross_entropy = (line["train"][name] for name in ("entropy", "cross_entropy"))
    assert line["train"]["loss"] == pytest.approx(cross_entropy - 0.2 * entropy, rel=1e-5)


@pytest.mark.slow
def test_a_data_set_of_arrays(folder, command_of):
    trained, summary = _train([*command_of("runs/stripes"), *TINY])
    assert summary["dataset"] == "stripes"
    assert summary["config"]["data"]["name"] == "stripes:load"
    assert trained.class_names == ("down", "across")
    picture = np.full((16, 16, 3), 90, np.uint8)
    picture[:, ::2] = 160
    prepared = trained.prepare(Image.fromarray(picture))
    np.testing.assert_array_equal(prepared, picture)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_that_is_streamed(folder, command_of, workers):
    flags = [*command_of("runs/drawn"), *TINY, f"--config.data.workers={workers}"]
    trained, summary = _train(flags)
    assert (summary["dataset"], summary["steps"]) == ("drawn", 2)
    assert trained.image_shape == (32, 32, 3)
    assert np.isfinite(summary["test"]["nll"])
