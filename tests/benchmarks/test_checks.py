"""What must hold of the compiled step on any device."""

import jax
import numpy as np
import pytest

from benchmarks import checks
from benchmarks.jax_training import JaxTraining
from benchmarks.settings import Settings


@pytest.fixture(scope="module")
def training():
    return JaxTraining(
        Settings("cross_entropy", width=4, batch_size=4, examples=8, image_size=8, classes=5)
    )


def test_a_dispatch_moves_nothing_between_host_and_device(training):
    assert checks.host_transfers(training) is None


def test_a_transfer_would_be_seen(training):
    inputs, given = training.inputs, next(training.inputs)
    training.inputs = iter([given, given._replace(order=np.asarray(given.order))])
    try:
        assert "transfer" in checks.host_transfers(training)
    finally:
        training.inputs = inputs


def test_the_state_is_donated_and_written_in_place(training):
    sizes = checks.donation(training)
    assert sizes["state_bytes"] > 4 * training.trainer.parameter_count
    assert sizes["deleted_bytes"] == sizes["state_bytes"]
    assert sizes["aliased_bytes"] >= sizes["state_bytes"]


@pytest.mark.slow
def test_a_longer_run_compiles_no_more(training):
    _, short, long = checks.compilations_by_epochs("cross_entropy", (1, 1, 3))
    assert short == long > 0
    assert jax.device_count() == 8
