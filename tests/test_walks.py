"""The walks of the docs, from the first command to the last: in an empty folder, from a wheel."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from config_files import CONFIGS, ROOT
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, as a build writes into its folder."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("skdsam_jax", "configs"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    subprocess.run([*pip, "--no-deps", f"--wheel-dir={made}", str(source)], check=True)
    (path,) = made.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel in a folder of its own, and beside it in `bin` what it puts on the path."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", f"--target={folder}", str(wheel)], check=True)
    return folder


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


# The program that a wheel installed, called for one command after another: a process for each would
# take most of its time for imports.
WALKER = """
import contextlib, io, json, runpy, sys
*programs, out = map(json.loads, sys.argv[1:])
outputs = []
for sys.argv in programs:
    try:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            sys.exit(f"{sys.argv}: {end.code}")
    outputs.append(output.getvalue())
with open(out, "w") as file:
    json.dump(outputs, file)
"""


def _walk(page: str, folder: pathlib.Path, installed: pathlib.Path) -> list[str]:
    """Runs the commands of a page; returns what each wrote to stdout."""
    programs = []
    for program, command, *arguments in _commands(page):
        assert program == "skdsam"
        extra = [*BRIEF.get(command, ())]
        if command in ("train", "sweep"):
            family = "folder" if page == "practitioners" else "digits"
            extra += [*SMALLER[family], *SMALL]
        programs.append([str(installed / "bin" / program), command, *arguments, *extra])
    out = folder / "outputs.json"
    done = subprocess.run(
        [sys.executable, "-c", WALKER, *map(json.dumps, [*programs, str(out)])],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed), "JAX_NUM_CPU_DEVICES": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


@pytest.mark.parametrize("page", ["practitioners", "researchers"])
def test_commands_are_those_that_there_are(page):
    commands = _commands(page)
    assert commands
    assert {program for program, *_ in commands} == {"skdsam"}
    assert {command for _, command, *_ in commands} <= set(COMMANDS)


# A build fetches setuptools.
@pytest.mark.slow
def test_a_wheel_carries_the_configs_and_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "skdsam = skdsam_jax.__main__:start" in archive.read(entry_points).decode()
    for path in (ROOT / "skdsam_jax").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    assert {f"skdsam_jax/configs/{name}.py" for name in CONFIGS} <= names
    assert not {name for name in names if name.startswith(("configs/", "tests/"))}


@pytest.mark.slow
def test_practitioners(folder, installed):
    *_, answers, early = _walk("practitioners", folder, installed)
    assert answers == ""
    lines = (folder / "answers.csv").read_text().splitlines()
    assert len(lines) == 1 + 8
    assert all(re.search("robin|sparrow", line) for line in lines[1:])
    assert len(early.splitlines()) >= 8
    assert (folder / "seen.png").stat().st_size > 0
    assert (folder / "runs/photographs/evaluation/evaluation.json").exists()


@pytest.mark.slow
def test_researchers(folder, installed):
    _, planned, swept, *_ = _walk("researchers", folder, installed)
    assert len(re.findall("^runs/compared/", planned, flags=re.MULTILINE)) == 4
    assert "4 of 4 runs are finished" in swept
    page = (folder / "compared.md").read_text()
    assert all(f"| {method} |" in page for method in ("cross_entropy", "skdsam"))
    shown = (folder / "compared/index.html").read_text()
    assert "cross_entropy" in shown
    assert "Accuracy against FLOPs" in shown  # Of the run that was measured before.
    assert (folder / "runs/byot/evaluation/evaluation.json").exists()


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
