"""Where the package is, what a wheel of it holds, and that a wheel alone works."""

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from config_files import CONFIGS, ROOT

from skdsam_jax import installation


def _project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_named_in_the_project():
    packages = [
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "skdsam_jax").rglob("__init__.py")
    ]
    named = _project()["tool"]["setuptools"]["packages"]
    assert named == sorted([*packages, "skdsam_jax.configs"])
    assert _project()["tool"]["setuptools"]["package-dir"] == {"skdsam_jax.configs": "configs"}


def test_the_command_is_the_package(monkeypatch, capsys):
    module, _, name = _project()["project"]["scripts"]["skdsam"].partition(":")
    monkeypatch.setattr(sys, "argv", ["skdsam", "--help"])
    assert getattr(importlib.import_module(module), name)() == 0
    assert capsys.readouterr().out.startswith("usage: skdsam COMMAND")


def test_in_a_clone_the_configs_are_those_of_the_clone(monkeypatch, tmp_path):
    assert installation.configs_folder().samefile(ROOT / "configs")
    monkeypatch.chdir(ROOT)
    assert installation.install_command("prepare") == 'pip install -e ".[prepare]"'
    monkeypatch.chdir(tmp_path)
    assert installation.install_command("cuda") == f'pip install -e "{ROOT}[cuda]"'


def test_a_wheel_has_no_clone(monkeypatch, tmp_path):
    monkeypatch.setattr(installation, "PACKAGE", tmp_path / "skdsam_jax")
    assert installation.clone() is None
    assert installation.configs_folder() == tmp_path / "skdsam_jax" / "configs"
    assert installation.install_command("prepare") == 'pip install "skdsam_jax[prepare]"'


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


# A build fetches setuptools.
@pytest.mark.slow
def test_a_wheel_carries_the_configs_and_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "skdsam = skdsam_jax.__main__:main" in archive.read(entry_points).decode()
    for path in (ROOT / "skdsam_jax").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    assert {f"skdsam_jax/configs/{name}.py" for name in CONFIGS} <= names
    assert not {name for name in names if name.startswith(("configs/", "tests/"))}


@pytest.mark.slow
def test_from_a_wheel_in_an_empty_folder(installed, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(installed), "JAX_NUM_CPU_DEVICES": "1"}

    def skdsam(*arguments):
        result = subprocess.run(
            [installed / "bin" / "skdsam", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    small = ("--config.model.name=wrn16_2", "--config.model.width=4", "--config.training.epochs=1")
    few = ("--config.data.train_examples=64", "--config.training.batch_size=16")
    skdsam("train", "--config=digits:method=byot", "--workdir=runs/digits", *small, *few)
    assert "| byot |" in skdsam("report", "runs")
    skdsam("preview", "--config=digits.py", "--out=grid.png", "--images=2", "--versions=2")
    assert (tmp_path / "grid.png").stat().st_size > 0
    skdsam("evaluate", "runs/digits", "--seconds=0", "--batch_size=16")
    assert (tmp_path / "runs" / "digits" / "evaluation" / "evaluation.json").is_file()
    assert skdsam("predict", "runs/digits", "grid.png", "--confidence=0.5").startswith("grid.png")
    table = ("--table=peers", "--family=digits", "--seeds=0", "--workdir=runs/table", "--dry_run")
    assert "runs/table/cs_kd-resnet18-digits/seed-0: " in skdsam("sweep", *table)
