"""What a method remembers is part of its run: stopped in the middle of an epoch, it goes on."""

import signal
import time

import jax
import numpy as np
import pytest
from runs import Run

from skdsam_jax.data import Dataset, Split
from skdsam_jax.experiment.config import default_config, from_config_dict
from skdsam_jax.methods import METHODS
from skdsam_jax.options import ConfigError
from skdsam_jax.training import device_memory
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer

REMEMBERING = ("dlb", "lightskd", "ps_kd")
SLOWLY = ("dlb", "lightskd")
EPOCHS, STEPS = 3, 4


def test_these_are_all_that_remember():
    remembering = {name for name, method in METHODS.items() if "remember" in vars(method)}
    assert remembering == set(REMEMBERING)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ps_kd", "dlb", "lightskd"])
def test_a_run_stopped_in_an_epoch_ends_with_the_same_memory(tmp_path, method):
    """The digest covers the memory; the checkpoint is written after every step."""
    flags = (
        f"--config.method.name={method}",
        f"--config.training.epochs={EPOCHS}",
        "--config.checkpoint.every_minutes=0",
    )
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    whole.finish(*flags)

    process = stopped.start(*flags)
    # In the second epoch, so that there is something to remember of each kind.
    while (
        process.poll() is None and not (stopped.workdir / "checkpoints" / str(STEPS + 1)).exists()
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode in (0, 75)

    stopped.finish(*flags)
    assert stopped.summary["params_digest"] == whole.summary["params_digest"]
    assert stopped.metrics == whole.metrics


def test_a_memory_larger_than_the_device_is_refused_before_anything_is_computed(monkeypatch):
    config = default_config()
    config.method.name, config.model.width, config.training.batch_size = "ps_kd", 4, 8
    config.evaluation.batch_size = 8
    split = Split(np.zeros((8, 8, 8, 3), np.uint8), np.zeros(8, np.int32))
    names = tuple(map(str, range(10)))
    dataset = Dataset("eight", names, (0.5,) * 3, (0.5,) * 3, split, None, split)
    monkeypatch.setattr(device_memory, "memory_bytes", lambda device: 8 * 10 * 4 - 1)
    with pytest.raises(ConfigError) as error:
        Trainer(from_config_dict(config), dataset, data_mesh(jax.devices()[:1]))
    assert str(error.value) == (
        "config.method.name: ps_kd remembers 0.0 GiB for 8 images of 10 classes; the device has "
        "0.0 GiB"
    )
    monkeypatch.setattr(device_memory, "memory_bytes", lambda device: 8 * 10 * 4)
    Trainer(from_config_dict(config), dataset, data_mesh(jax.devices()[:1]))


def test_the_memory_of_a_cpu_is_that_of_the_machine():
    assert 2**28 < device_memory.memory_bytes(jax.devices()[0]) < 2**50
