"""Files made by version 0.1.0 are restored for ever after."""

import json
import pathlib
import shutil

import jax
import pytest

from skdsam_jax.data import load_dataset
from skdsam_jax.experiment.config import from_config_dict
from skdsam_jax.report.runs import find_runs
from skdsam_jax.trained.checkpoint_files import digest
from skdsam_jax.training import train
from skdsam_jax.training.checkpoint import Checkpoints
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "version_0_1_0"


@pytest.fixture
def workdir(tmp_path):
    """A copy, so that nothing can change the original."""
    return shutil.copytree(FIXTURE, tmp_path / "run")


@pytest.fixture
def summary():
    return json.loads((FIXTURE / "summary.json").read_text())


def test_the_checkpoint_restores_and_classifies_as_it_did(workdir, summary):
    experiment = from_config_dict(summary["config"])
    dataset = load_dataset(experiment.data, experiment.seed)
    trainer = Trainer(experiment, dataset, data_mesh(jax.devices()[:1]))
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        restored = checkpoints.restore(*trainer.abstract)
    assert int(restored.state.step) == summary["steps"]
    assert digest(restored.state.params, restored.state.model_state) == summary["params_digest"]
    measured = trainer.evaluate(restored.state, "test")
    # Another machine or version of XLA may round one of the 355 images to another class.
    assert measured["accuracy"] == pytest.approx(summary["test_accuracy"], abs=1.5 / 355)
    assert measured["nll"] == pytest.approx(summary["test"]["nll"], rel=1e-3)


def test_the_finished_run_is_recognised(workdir, summary):
    again = train(
        from_config_dict(summary["config"]), workdir, devices=jax.devices()[:1], verbose=False
    )
    for name in ("params_digest", "test_accuracy", "exit_accuracies", "epochs", "steps"):
        assert again[name] == summary[name]


def test_the_summary_can_be_reported(summary):
    (run,) = find_runs(FIXTURE)
    assert run.summary == summary
