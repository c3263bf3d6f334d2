"""Checkpoints of a tiny state: every kind of damage, and what is left after it."""

import gc
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from patience import HANGING

from skdsam_jax.options import ConfigError
from skdsam_jax.training import checkpoint
from skdsam_jax.training.checkpoint import CheckpointError, Checkpoints
from skdsam_jax.training.state import TrainState
from skdsam_jax.training.step import EpochSums

METADATA = {"config": {"seed": 0}}


def _state(step):
    values = jnp.arange(1000.0) + step
    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        params={"dense": {"kernel": values.reshape(10, 100), "bias": -values[:10]}},
        model_state={"mean": values[:7]},
        opt_state=(values[:3],),
    )


def _sums(step):
    return EpochSums(
        training={"loss": jnp.asarray(float(step)), "term/kl": jnp.ones(3) * step},
        skipped=jnp.asarray(0, jnp.int32),
        first_skipped=jnp.asarray(-1, jnp.int32),
        skipped_sums={"loss": jnp.zeros(()), "term/kl": jnp.zeros(3)},
    )


def _write(directory, *steps, **options):
    with Checkpoints(directory, **options) as checkpoints:
        for step in steps:
            checkpoints.save(_state(step), _sums(step), METADATA)
        checkpoints.wait()


def _restore(directory):
    with Checkpoints(directory) as checkpoints:
        return checkpoints.restore(_state(0), _sums(0))


def _steps(directory):
    return sorted(int(path.name) for path in directory.glob("[0-9]*"))


def _assert_is(restored, step):
    assert int(restored.state.step) == step
    for got, expected in zip(
        jax.tree.leaves((restored.state, restored.sums)),
        jax.tree.leaves((_state(step), _sums(step))),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)


def test_what_was_saved_comes_back(tmp_path):
    _write(tmp_path, 3)
    restored = _restore(tmp_path)
    _assert_is(restored, 3)
    assert restored.metadata["config"] == {"seed": 0}


def test_no_checkpoint_is_none(tmp_path):
    assert _restore(tmp_path / "nothing") is None


def test_the_latest_are_kept(tmp_path):
    _write(tmp_path, 1, 2, 3, 4, keep_latest=2)
    assert _steps(tmp_path) == [3, 4]
    _write(tmp_path, 5, keep_latest=3)
    assert _steps(tmp_path) == [3, 4, 5]


def test_the_best_is_kept_besides_the_latest(tmp_path):
    with Checkpoints(tmp_path, keep_latest=1, keep_best=True) as checkpoints:
        for step, score in [(1, 0.3), (2, 0.9), (3, 0.5), (4, None), (5, None)]:
            checkpoints.save(_state(step), _sums(step), METADATA, score=score)
    assert _steps(tmp_path) == [2, 5]


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _reported(caplog):
    return [record for record in caplog.records if record.name == checkpoint.__name__]


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "bit flipped": _flip_a_bit,
}


@pytest.fixture
def abandoned_reads():
    """When a read fails Orbax abandons its others, which complain when they are collected."""
    yield
    gc.collect()


@pytest.mark.usefixtures("abandoned_reads")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(kind, marks=() if kind == "bit flipped" else pytest.mark.slow)
        for kind in DAMAGE
    ],
)
def test_a_damaged_file_never_changes_what_is_restored(tmp_path, damage, caplog):
    """Each file in turn: either it did not matter, or the checkpoint before is used."""
    intact = tmp_path / "intact"
    _write(intact, 1, 2)
    used_older = 0
    for number, file in enumerate(_files(intact / "2")):
        directory = tmp_path / str(number)
        shutil.copytree(intact, directory)
        DAMAGE[damage](directory / file.relative_to(intact))
        caplog.clear()
        restored = _restore(directory)
        step = int(restored.state.step)
        _assert_is(restored, step)
        if step == 1:
            used_older += 1
            (record,) = _reported(caplog)
            assert "is damaged" in record.getMessage()
            assert _steps(directory) == [1]
            assert (directory / "damaged-2").is_dir()
            # Training goes on saving from there, under the same number too.
            _write(directory, 2)
            _assert_is(_restore(directory), 2)
        else:
            assert not _reported(caplog)
        shutil.rmtree(directory)
    assert used_older >= 3


@pytest.mark.usefixtures("abandoned_reads")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_half_written_folders_are_passed_over(tmp_path):
    _write(tmp_path, 1)
    (tmp_path / "2").mkdir()
    shutil.copytree(tmp_path / "1" / "state", tmp_path / "3" / "state")
    (tmp_path / "4.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    _assert_is(_restore(tmp_path), 1)
    _write(tmp_path, 5)
    assert _steps(tmp_path) == [1, 5]


@pytest.mark.usefixtures("abandoned_reads")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_when_none_is_intact_the_run_does_not_start_over(tmp_path):
    _write(tmp_path, 1, 2)
    for step in (1, 2):
        for file in _files(tmp_path / str(step) / "state"):
            file.write_bytes(b"")
    for _ in range(2):  # Also when the damaged ones were moved aside by an earlier attempt.
        with pytest.raises(CheckpointError, match="no intact checkpoint") as error:
            _restore(tmp_path)
        assert "damaged-1" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.usefixtures("abandoned_reads")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_newer_format_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    _write(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(
        ConfigError, match=f"format 99, this version reads up to {checkpoint.FORMAT}"
    ):
        _restore(tmp_path)
    assert _steps(tmp_path) == [1]


@pytest.mark.usefixtures("abandoned_reads")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_edited_digest_is_damage(tmp_path):
    _write(tmp_path, 1, 2)
    file = tmp_path / "2" / "_CHECKPOINT_METADATA"
    metadata = json.loads(file.read_text())
    file.write_text(json.dumps(metadata).replace(metadata["custom_metadata"]["digest"], "0" * 64))
    _assert_is(_restore(tmp_path), 1)


def test_a_checkpoint_of_eight_devices_restores_on_one_and_back(tmp_path):
    everywhere = jax.sharding.NamedSharding(jax.make_mesh((8,), ("data",)), jax.P())
    spread = jax.device_put((_state(1), _sums(1)), everywhere)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(*spread, METADATA)
    restored = _restore(tmp_path)
    _assert_is(restored, 1)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_state(2), _sums(2), METADATA)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(*spread)
    _assert_is(restored, 2)
    assert restored.state.step.sharding == everywhere


FULL_DISK = """
import logging, pathlib, resource, sys
sys.path[:0] = {paths!r}
import test_checkpoint as t
logging.basicConfig(format="%(message)s")
directory = pathlib.Path(sys.argv[1])
with t.Checkpoints(directory) as checkpoints:
    checkpoints.save(t._state(1), t._sums(1), t.METADATA)
    checkpoints.wait()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    checkpoints.save(t._state(2), t._sums(2), t.METADATA)
    try:
        checkpoints.wait()
    except t.CheckpointError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    checkpoints.save(t._state(3), t._sums(3), t.METADATA)
    checkpoints.wait()
"""


def test_a_full_disk_costs_one_checkpoint_and_not_the_run(tmp_path):
    here = pathlib.Path(__file__)
    program = FULL_DISK.format(paths=list(map(str, [here.parent, *here.parents[1:3]])))
    process = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=HANGING,
        check=True,
    )
    assert "the last checkpoint was not written" in process.stdout
    assert "the checkpoint of step 2 was not written" in process.stderr
    assert _steps(tmp_path) == [1, 3]
    _assert_is(_restore(tmp_path), 3)
