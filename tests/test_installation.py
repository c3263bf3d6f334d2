"""Where the package is, and that the project names what a wheel is to hold."""

import importlib
import sys
import tomllib

from config_files import ROOT

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
