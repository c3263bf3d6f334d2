"""Which checkpoint is loaded, and what stands in the way of it."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

import skdsam_jax
from skdsam_jax.options import ConfigError
from skdsam_jax.trained import CheckpointError, checkpoint_files, loading


def _damaging(test):
    """Marks a test in which reads fail: what Orbax abandons complains when it is collected."""
    ignored = "ignore::pytest.PytestUnraisableExceptionWarning"
    return pytest.mark.usefixtures("abandoned_reads")(pytest.mark.filterwarnings(ignored)(test))


def _steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*"))


def _damage(workdir, step):
    for file in (workdir / "checkpoints" / str(step) / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def _set_accuracies(workdir, accuracies):
    """Writes metrics whose epochs end after these steps, with these validation accuracies."""
    lines = [
        {"step": step, **({} if value is None else {"validation": {"accuracy": value}})}
        for step, value in accuracies.items()
    ]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _refusal(kind, *arguments):
    with pytest.raises(kind) as error:
        skdsam_jax.load(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_latest_and_any_step(digits):
    assert _steps(digits.workdir) == [1, 2, 3, 4, 5, 6]
    assert skdsam_jax.load(digits.workdir).step == 6
    assert skdsam_jax.load(digits.workdir, 3).step == 3
    before = skdsam_jax.load(digits.workdir, 5).params_digest
    assert before != digits.summary["params_digest"]


def test_raw_weights_are_the_weights_of_a_run_that_keeps_no_average(digits):
    assert digits.summary["weights"] == "trained"
    raw = skdsam_jax.load(digits.workdir, raw=True)
    assert checkpoint_files.digest(raw.params, raw.model_state) == digits.summary["params_digest"]


def test_best_is_the_step_that_the_summary_names(digits):
    assert skdsam_jax.load(digits.workdir, "best").step == digits.summary["best_validation_step"]


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [({2: 0.5, 4: 0.6, 6: 0.4}, 4), ({2: 0.5, 4: 0.5, 6: 0.4}, 4), ({2: 0.1, 99: 0.9}, 2)],
)
def test_best_is_the_highest_of_those_that_are_kept_and_of_equals_the_newest(
    workdir, accuracies, best
):
    _set_accuracies(workdir, accuracies)
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "valida')  # A line that is being written.
    assert skdsam_jax.load(workdir, "best").step == best


def test_without_validation_none_is_best(old_workdir, workdir):
    _set_accuracies(workdir, {2: None, 4: None})
    for path in (old_workdir, workdir):
        assert "config.data.validation_fraction" in _refusal(ConfigError, path, "best")


def test_a_step_that_is_not_there(digits):
    assert _refusal(ConfigError, digits.workdir, 7).endswith(
        "no checkpoint of step 7; there are 1, 2, 3, 4, 5, 6"
    )


@pytest.mark.parametrize("which", ["newest", "6", None, 1.0])
def test_which_is_refused_naming_what_it_takes(digits, which):
    assert "which: takes latest, best or the step" in _refusal(ConfigError, digits.workdir, which)


def test_no_folder_no_run_no_checkpoint(tmp_path, workdir):
    assert "no such folder" in _refusal(ConfigError, tmp_path / "nothing")
    assert "no config.json" in _refusal(ConfigError, tmp_path)
    shutil.rmtree(workdir / "checkpoints")
    assert "has no checkpoint" in _refusal(CheckpointError, workdir)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"data": 1, "model": {}, "method": {}}'])
def test_a_damaged_config(workdir, text):
    (workdir / "config.json").write_text(text)
    assert "its config.json is damaged" in _refusal(ConfigError, workdir)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"class_names": 3}'])
def test_a_damaged_record(workdir, text):
    (workdir / "network.json").write_text(text)
    assert "its network.json is damaged" in _refusal(ConfigError, workdir)


def test_a_record_of_another_network(workdir):
    record = json.loads((workdir / "network.json").read_text())
    record["class_names"].pop()
    (workdir / "network.json").write_text(json.dumps(record))
    assert "names 9 classes, its network has 10" in _refusal(ConfigError, workdir)


@_damaging
def test_latest_falls_back_with_one_warning(workdir, caplog):
    _damage(workdir, 6)
    _damage(workdir, 5)
    assert skdsam_jax.load(workdir).step == 4
    (record,) = (record for record in caplog.records if record.name == loading.__name__)
    assert re.search(r"6 is damaged \(.+5 is damaged \(.+4 is loaded", record.getMessage())
    assert _steps(workdir) == [1, 2, 3, 4, 5, 6]  # Nothing was moved: another process may train.


@_damaging
@pytest.mark.parametrize("which", [pytest.param("latest", marks=pytest.mark.slow), "best", 6])
def test_damage_that_nothing_can_stand_in_for(workdir, which):
    _set_accuracies(workdir, {4: 0.1, 6: 0.2})
    for step in (1, 2, 3, 4, 5, 6):
        _damage(workdir, step)
    assert "6 is damaged" in _refusal(CheckpointError, workdir, which)


@_damaging
def test_a_flipped_bit_is_damage(workdir):
    metadata = workdir / "checkpoints" / "6" / "_CHECKPOINT_METADATA"
    digest = json.loads(metadata.read_text())["custom_metadata"]["digest"]
    metadata.write_text(metadata.read_text().replace(digest, "0" * 64))
    assert "do not match their SHA-256" in _refusal(CheckpointError, workdir, 6)


def test_a_newer_format_is_refused_by_its_number(digits, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "FORMAT", 0)
    for which in ("latest", "best", 6):
        assert "format 1, this version reads up to 0" in _refusal(
            ConfigError, digits.workdir, which
        )


@_damaging
@pytest.mark.parametrize(("which", "loaded"), [("latest", 5), ("best", 4)])
def test_a_checkpoint_that_vanishes_while_it_is_read(workdir, which, loaded, monkeypatch, caplog):
    """A run that trains removes old checkpoints."""
    _set_accuracies(workdir, {4: 0.1, 6: 0.2})
    read = loading.read

    def read_after_removal(folder):
        if folder.name == "6":
            shutil.rmtree(folder)
        return read(folder)

    monkeypatch.setattr(loading, "read", read_after_removal)
    assert skdsam_jax.load(workdir, which).step == loaded
    assert not [record for record in caplog.records if record.name == loading.__name__]


@_damaging
@pytest.mark.slow
def test_a_run_is_loaded_while_it_trains(tmp_path, pytestconfig, caplog):
    """Another process writes a checkpoint at every step and removes the one before."""
    run = tmp_path / "run"
    fields = {
        "method.name": "cross_entropy",
        "model.name": "wrn10_1",
        "model.width": 4,
        "data.train_examples": 32,
        "training.batch_size": 16,
        "training.epochs": 5,
        "checkpoint.every_minutes": 0,
        "checkpoint.keep_latest": 1,
        "logging.tensorboard": False,
    }
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    process = subprocess.Popen(
        [sys.executable, "train.py", "--config=configs/digits.py", *flags, f"--workdir={run}"],
        cwd=pytestconfig.rootpath,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
        stdout=subprocess.DEVNULL,
    )
    steps = []
    with process:
        while process.poll() is None:
            if checkpoint_files.checkpoint_folders(run / "checkpoints"):
                steps.append(skdsam_jax.load(run).step)
    assert process.returncode == 0
    assert skdsam_jax.load(run).step == 10
    assert len(set(steps)) >= 2
    assert steps == sorted(steps)
    assert not [record for record in caplog.records if record.name == loading.__name__]


def test_nothing_is_written(digits):
    def stamps():
        return {path: path.stat().st_mtime_ns for path in digits.workdir.rglob("*")}

    before = stamps()
    skdsam_jax.load(digits.workdir)
    assert stamps() == before
