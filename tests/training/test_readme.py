"""The Python of README and docs is run as it stands, on a real run's folder."""

import pathlib
import re

import jax
import numpy as np
import pytest
from PIL import Image

from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.trained.checkpoint_files import digest

ROOT = pathlib.Path(__file__).parents[2]


def _run(page, phrase):
    """Runs the block of Python of a page that has `phrase` in it; returns its variables."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    (block,) = (block for block in blocks if phrase in block)
    variables = {}
    exec(compile(block, page, "exec"), variables)
    return variables


@pytest.fixture
def runs(undisturbed, tmp_path, monkeypatch):
    """A finished run in the folder that the pages name."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits").symlink_to(undisturbed.workdir)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_the_losses_are_shown(capsys):
    _run("README.md", "skdsam_loss")
    assert "(3, 8)" in capsys.readouterr().out


@pytest.mark.usefixtures("runs")
def test_three_lines_classify_a_picture(capsys):
    image = load_dataset(DataOptions(), 0).test.images[0]
    Image.fromarray(image).save("picture.png")
    trained = _run("README.md", "trained.predict")["trained"]
    expected = int(trained.logits(image[None])[0].argmax())
    assert capsys.readouterr().out == f"{expected}\n"


@pytest.mark.usefixtures("runs")
def test_plain_orbax_reads_what_the_run_ended_with(undisturbed, capsys):
    state = _run("docs/reliability.md", "ocp.load")["state"]
    assert digest(state["params"], state["model_state"]) == undisturbed.summary["params_digest"]
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(state["params"]))
    assert capsys.readouterr().out == "16 (16, 10)\n"


@pytest.mark.usefixtures("runs")
def test_training_from_python(monkeypatch):
    """Its config and folder, without the training, which takes minutes at full width."""
    given = []
    monkeypatch.setattr("skdsam_jax.training.train", lambda *arguments: given.append(arguments))
    _run("README.md", "skdsam_jax.train(")
    ((config, workdir),) = given
    assert config.training.epochs == 2
    assert workdir == "runs/from_python"
