"""Worker processes end with training, however it ends, and leave signals to it."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists("/proc"), reason="looks for processes in /proc"),
]

SCRIPT = """
import multiprocessing, os, sys, time
import jax
from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.data.pipelines.order import ReadingOrder
from skdsam_jax.data.pipelines.photograph_crops import RandomCrops
from skdsam_jax.data.pipelines.streaming import Streaming

if __name__ == "__main__":
    options = DataOptions(
        name="folder", data_dir=sys.argv[1], image_size=12, pipeline="streaming", crop="resized"
    )
    split = load_dataset(options, 0).train
    crops = RandomCrops(split, ReadingOrder(0, len(split), 8))
    stream = Streaming(crops, jax.sharding.SingleDeviceSharding(jax.devices()[0]), 2)
    list(stream.batches(0))
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    {end}
"""


def _start(folder, tmp_path, end):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.replace("{end}", end))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(path), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    workers = [int(number) for number in process.stdout.readline().split()]
    assert len(workers) == 2
    return process, workers


def _gone(workers, seconds=20):
    for _ in range(seconds * 10):
        if not any(os.path.exists(f"/proc/{number}") for number in workers):
            return True
        time.sleep(0.1)
    return False


def test_workers_end_with_training(animals, tmp_path):
    process, workers = _start(animals, tmp_path, "stream.close()")
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    assert _gone(workers)


def test_workers_end_when_training_is_killed(animals, tmp_path):
    process, workers = _start(animals, tmp_path, "time.sleep(60)")
    process.kill()
    process.communicate(timeout=60)
    assert _gone(workers)


def test_workers_leave_signals_to_training(animals, tmp_path):
    end = "[None for epoch in range(1, 40) for _ in stream.batches(epoch)]; stream.close()"
    process, workers = _start(animals, tmp_path, end)
    for number in workers:
        os.kill(number, signal.SIGINT)
        os.kill(number, signal.SIGTERM)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
