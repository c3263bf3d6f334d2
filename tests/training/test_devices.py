"""The same run on one device and on eight: same losses, same statistics, same evaluation.

`tests/methods/test_contract.py` looks at two steps of every method.
"""

import dataclasses

import jax
import numpy as np
import pytest

from skdsam_jax.data import load_dataset
from skdsam_jax.experiment.config import default_config, from_config_dict
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer

STEPS = 20


@pytest.fixture(scope="module")
def experiment():
    config = default_config()
    config.method.name = "cross_entropy"
    config.model.name = "wrn10_1"
    config.model.width = 4
    config.data.train_examples = 80
    config.training.batch_size = 16
    config.training.epochs = 4
    config.evaluation.batch_size = 104  # The 355 test images leave a remainder.
    # Under 0.1 rounding grows so fast that no two runs of 20 steps agree.
    config.training.learning_rate = 0.01
    config.training.ema_decay = 0.9
    return from_config_dict(config)


@pytest.fixture(scope="module")
def dataset(experiment):
    return load_dataset(experiment.data, experiment.seed)


def _train(experiment, dataset, devices, steps=STEPS):
    trainer = Trainer(experiment, dataset, data_mesh(jax.devices()[:devices]))
    state, sums = trainer.initial()
    losses = []
    for step in range(steps):
        inputs = trainer.inputs(*divmod(step, trainer.steps_per_epoch))
        state, sums, last = trainer.dispatch(state, sums, next(inputs), 1)
        losses.append(float(last["loss"]))
    return np.asarray(losses) / 16, state, trainer.evaluate(state, "test")


def test_one_and_eight_devices_agree_in_float64(experiment, dataset):
    with jax.enable_x64(True):
        one, state_of_one, test_of_one = _train(experiment, dataset, 1)
        eight, state_of_eight, test_of_eight = _train(experiment, dataset, 8)
    np.testing.assert_allclose(eight, one, rtol=1e-8)
    for a, b in zip(
        jax.tree.leaves((state_of_one.model_state, state_of_one.average)),
        jax.tree.leaves((state_of_eight.model_state, state_of_eight.average)),
        strict=True,
    ):
        assert a.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)
    assert test_of_one["examples"] == test_of_eight["examples"] == 355
    assert test_of_one["exit_accuracies"] == test_of_eight["exit_accuracies"]
    np.testing.assert_allclose(test_of_one["nll"], test_of_eight["nll"], rtol=1e-7)


# What sharding breaks shows in float64 too.
@pytest.mark.slow
def test_one_and_eight_devices_begin_alike_in_float32(experiment, dataset):
    one, *_ = _train(experiment, dataset, 1, steps=1)
    eight, *_ = _train(experiment, dataset, 8, steps=1)
    np.testing.assert_allclose(eight, one, rtol=1e-6)


def test_evaluation_does_not_depend_on_the_batch(experiment, dataset):
    def measure(batch_size):
        evaluation = dataclasses.replace(experiment.evaluation, batch_size=batch_size)
        changed = dataclasses.replace(experiment, evaluation=evaluation)
        trainer = Trainer(changed, dataset, data_mesh(jax.devices()[:1]))
        return trainer.evaluate(trainer.initial()[0], "test")

    measured, whole = measure(104), measure(355)
    assert measured["examples"] == whole["examples"] == 355
    assert measured["exit_accuracies"] == whole["exit_accuracies"]
    np.testing.assert_allclose(measured["nll"], whole["nll"], rtol=1e-5)
    np.testing.assert_allclose(measured["calibration_error"], whole["calibration_error"], rtol=1e-4)
