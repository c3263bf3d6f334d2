import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest
import tiny_cifar

from skdsam_jax.commands import prepare
from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.installation import install_command

# Stands in for TensorFlow and the download: the rest of the process is what a user gets.
SITECUSTOMIZE = """
import importlib.util, os
import tensorflow_datasets as tfds
import tiny_cifar

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: find_spec("json" if name == "tensorflow" else name)
builders = tiny_cifar.BUILDERS | ({"cifar10": tiny_cifar.Broken} if "BROKEN" in os.environ else {})
tfds.builder = lambda name, data_dir: builders[name](data_dir=data_dir)
"""


@pytest.fixture
def with_tensorflow(monkeypatch, tmp_path):
    """Makes new processes believe that TensorFlow is installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    paths = [folder, pathlib.Path(__file__).parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))


def _run(*arguments):
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "skdsam_jax",
        "prepare",
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True)


def _complaint(*arguments):
    """What the failing command said, on stderr and in one line."""
    result = _run(*arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("error: ").strip()


@pytest.mark.usefixtures("with_tensorflow")
def test_the_command_prepares_and_says_where(tmp_path):
    root = tmp_path / "new" / "folder"
    result = _run("cifar100", "--data_dir", root)
    where = f"cifar100 is prepared in {root / 'cifar100' / '3.0.2'}"
    counts = "40 images in split train, 20 images in split test\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{where}: {counts}", "")
    assert os.listdir(root) == ["cifar100"]
    assert os.listdir(root / "cifar100") == ["3.0.2"]
    dataset = load_dataset(DataOptions(name="cifar100", data_dir=str(root)), 0)
    assert len(dataset.train) == tiny_cifar.SIZES["train"]


@pytest.mark.usefixtures("with_tensorflow")
def test_the_folder_can_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    assert _run("cifar10").returncode == 0
    assert (tmp_path / "data" / "cifar10" / "3.0.2" / "dataset_info.json").exists()


@pytest.mark.usefixtures("with_tensorflow")
def test_what_is_prepared_stays_as_it_is(data_dir):
    folder = data_dir / "cifar10" / "3.0.2"
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    result = _run("cifar10", "--data_dir", data_dir)
    assert (result.returncode, result.stderr) == (0, "")
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


@pytest.mark.usefixtures("with_tensorflow")
def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")
    root = tmp_path / "new" / "folder"
    complaint = _complaint("cifar10", "--data_dir", root)
    assert complaint.startswith(f"preparing cifar10 in {root} failed: ")
    assert complaint.endswith("OSError: the archive is cut short")
    assert not root.parent.exists()


@pytest.mark.usefixtures("with_tensorflow")
def test_a_failure_leaves_other_sets_alone(data_dir, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")
    for file in (data_dir / "cifar10" / "3.0.2").iterdir():
        file.unlink()
    (data_dir / "cifar10" / "3.0.2").rmdir()
    (data_dir / "cifar10").rmdir()
    before = sorted(data_dir.rglob("*"))
    _complaint("cifar10", "--data_dir", data_dir)
    assert sorted(data_dir.rglob("*")) == before


@pytest.mark.usefixtures("with_tensorflow")
def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    complaint = _complaint("cifar10", "--data_dir", tmp_path / "file" / "data")
    assert complaint.startswith(f"preparing cifar10 in {tmp_path / 'file' / 'data'} failed: ")


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None,
    reason="TensorFlow is there, so the set would be downloaded",
)
def test_without_tensorflow_it_says_what_to_install(tmp_path):
    complaint = _complaint("cifar10", "--data_dir", tmp_path / "data")
    assert complaint == (f"preparing cifar10 needs TensorFlow; run: {install_command('prepare')}")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "hint"),
    [("cifar", "did you mean cifar10?"), ("digits", "known are caltech_birds2010, ")],
)
def test_other_names_are_refused(name, hint):
    assert _complaint(name).startswith(f"{name}: not a set to prepare; {hint}")


def test_of_two_that_finish_together_one_wins(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: True)

    def builder(name, data_dir):
        # The other process finishes while this one prepares.
        if not (tmp_path / name).exists():
            tiny_cifar.prepare(name, tmp_path)
        return tiny_cifar.BUILDERS[name](data_dir=data_dir)

    monkeypatch.setattr(tfds, "builder", builder)
    assert prepare.prepare("cifar10", tmp_path) == tmp_path / "cifar10" / "3.0.2"
    assert not [file for file in os.listdir(tmp_path) if file.startswith(".")]
