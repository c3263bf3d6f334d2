"""The README's Python is run as it stands, on a real run's folder."""

import pathlib
import re

import pytest

README = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_losses_are_shown(capsys):
    (block,) = (block for block in BLOCKS if "skdsam_loss" in block)
    exec(compile(block, "README.md", "exec"), {})
    assert "(3, 8)" in capsys.readouterr().out


def test_restoring_with_plain_orbax_classifies_as_the_run_did(
    undisturbed, tmp_path, monkeypatch, capsys
):
    (block,) = (block for block in BLOCKS if "ocp.load" in block)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits").symlink_to(undisturbed.workdir)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    accuracy = float(re.search(r"test accuracy ([\d.]+)", capsys.readouterr().out)[1])
    assert accuracy == pytest.approx(undisturbed.summary["test_accuracy"], abs=5e-5)
