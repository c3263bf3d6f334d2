"""The walks of the docs, from their first command to their last, in an empty folder."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from config_files import ROOT
from PIL import Image

from skdsam_jax.__main__ import COMMANDS

DOCS = ROOT / "docs"
# What makes a walk last seconds: the pages name networks and epochs of use.
SMALLER = {
    "folder": (
        "--config.data.image_size=32",
        "--config.data.workers=0",
        "--config.training.batch_size=8",
    ),
    "digits": (
        "--config.model.name=wrn10_1",
        "--config.data.train_examples=48",
        "--config.training.batch_size=16",
    ),
}
SMALL = (
    "--config.model.width=4",
    "--config.training.epochs=1",
    "--config.evaluation.batch_size=32",
    "--config.logging.tensorboard=False",
)
BRIEF = {"evaluate": ("--seconds=0.01",)}


def _blocks(page: str, language: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def _commands(page: str) -> list[list[str]]:
    lines = "".join(_blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines]


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Empty but for the photographs that a page supposes, of two birds."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 4)):
        for red, name in enumerate(("robin", "sparrow")):
            (tmp_path / "photographs" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 150, (40, 30 + number, 3), np.uint8)
                pixels[..., 2 * red] += 100
                path = tmp_path / "photographs" / split / name / f"{number}.jpg"
                Image.fromarray(pixels).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _walk(page: str, folder: pathlib.Path) -> list[str]:
    """Runs the commands of a page; returns what each wrote to stdout."""
    outputs = []
    for program, command, *arguments in _commands(page):
        assert program == "skdsam"
        extra = [*BRIEF.get(command, ())]
        if command in ("train", "sweep"):
            family = "folder" if page == "practitioners" else "digits"
            extra += [*SMALLER[family], *SMALL]
        done = subprocess.run(
            [sys.executable, "-m", "skdsam_jax", command, *arguments, *extra],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{shlex.join([command, *arguments])}\n{done.stderr}"
        outputs.append(done.stdout)
    return outputs


@pytest.mark.parametrize("page", ["practitioners", "researchers"])
def test_commands_are_those_that_there_are(page):
    commands = _commands(page)
    assert commands
    assert {program for program, *_ in commands} == {"skdsam"}
    assert {command for _, command, *_ in commands} <= set(COMMANDS)


@pytest.mark.slow
def test_practitioners(folder):
    *_, answers, early = _walk("practitioners", folder)
    assert answers == ""
    lines = (folder / "answers.csv").read_text().splitlines()
    assert len(lines) == 1 + 8
    assert all(re.search("robin|sparrow", line) for line in lines[1:])
    assert len(early.splitlines()) >= 8
    assert (folder / "seen.png").stat().st_size > 0
    assert (folder / "runs/photographs/evaluation/evaluation.json").exists()


@pytest.mark.slow
def test_researchers(folder):
    _, planned, swept, *_ = _walk("researchers", folder)
    assert len(re.findall("^runs/compared/", planned, flags=re.MULTILINE)) == 4
    assert "4 of 4 runs are finished" in swept
    page = (folder / "compared.md").read_text()
    assert all(f"| {method} |" in page for method in ("cross_entropy", "skdsam"))
    assert (folder / "byot/evaluation.json").exists()


@pytest.mark.slow
def test_developers(folder, capsys):
    """The blocks go on where the one before ended."""
    variables = {}
    for block in _blocks("developers", "python"):
        exec(compile(block, "developers.md", "exec"), variables)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str([(8, 100)] * 4)
    assert lines[1] == "3 (2, 10)"
    assert variables["probabilities"].shape == (4, 10)
    assert len(variables["network"].costs) == 3
