import logging
import multiprocessing
import os

import numpy as np
import pytest
from patience import HANGING

from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.data.sources.cache import load_or_make

ARRAYS = {"pixels": np.arange(2000, dtype=np.uint8).reshape(20, 100), "names": np.array(["a", "b"])}


def _build(arrays):
    if arrays["pixels"].shape != (20, 100):
        raise ValueError("wrong shape")
    return {name: arrays[name] for name in ("pixels", "names")}


class _Maker:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return ARRAYS


def _check(result):
    for name, expected in ARRAYS.items():
        np.testing.assert_array_equal(result[name], expected)


def test_made_once_and_read_after_that(cache, caplog):
    make = _Maker()
    for _ in range(3):
        _check(load_or_make("entry.npz", make, _build))
    assert make.calls == 1
    assert os.listdir(cache) == ["entry.npz"]
    assert not caplog.records


def _truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def _empty(path):
    os.truncate(path, 0)


def _flip_a_bit(path):
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)


def _other_shape(path):
    np.savez(path, pixels=ARRAYS["pixels"][:, :50], names=ARRAYS["names"])


def _missing_array(path):
    np.savez(path, pixels=ARRAYS["pixels"])


def _pickled(path):
    np.savez(path, pixels=ARRAYS["pixels"], names=np.array(["a", None], object))


def _text(path):
    path.write_text("not an archive")


@pytest.mark.parametrize(
    "damage",
    [_truncate, _empty, _flip_a_bit, _other_shape, _missing_array, _pickled, _text],
)
def test_a_damaged_entry_is_made_again(cache, caplog, damage):
    make = _Maker()
    load_or_make("entry.npz", make, _build)
    damage(cache / "entry.npz")
    _check(load_or_make("entry.npz", make, _build))
    assert make.calls == 2
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{cache / 'entry.npz'}: damaged, decoding again" in record.getMessage()
    _check(load_or_make("entry.npz", make, _build))
    assert make.calls == 2


def test_a_folder_that_cannot_be_written_costs_one_warning(cache, caplog):
    cache.parent.parent.write_text("a file where the folder should be")
    make = _Maker()
    _check(load_or_make("entry.npz", make, _build))
    (record,) = caplog.records
    assert "decoded images could not be kept" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_nothing_stays_behind_when_writing_fails(cache, caplog, monkeypatch):
    def fail(file, **arrays):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    _check(load_or_make("entry.npz", _Maker(), _build))
    assert os.listdir(cache) == []
    assert "No space left on device" in caplog.text


def test_what_cannot_be_used_is_not_kept(cache):
    with pytest.raises(ValueError, match="wrong shape"):
        load_or_make("entry.npz", lambda: {"pixels": np.zeros(3), "names": np.zeros(1)}, _build)
    assert not cache.exists()


def _race(barrier, results):
    def make():
        # All have looked into the cache and found nothing before anyone writes.
        barrier.wait()
        return ARRAYS

    result = load_or_make("entry.npz", make, _build)
    results.put(all(np.array_equal(result[name], ARRAYS[name]) for name in ARRAYS))


def test_processes_may_write_the_same_entry_at_once(cache):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_race, args=(barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=HANGING) for _ in processes] == [True] * 3
    for process in processes:
        process.join()
    assert os.listdir(cache) == ["entry.npz"]
    make = _Maker()
    _check(load_or_make("entry.npz", make, _build))
    assert make.calls == 0


def test_prepared_again_is_decoded_again(data_dir, cache):
    options = DataOptions(name="cifar10", data_dir=str(data_dir))
    load_dataset(options, 0)
    load_dataset(options, 0)
    assert len(os.listdir(cache)) == 1
    os.utime(next((data_dir / "cifar10" / "3.0.2").glob("*train*")))
    load_dataset(options, 0)
    assert len(os.listdir(cache)) == 2
