"""The memory of a process that trains."""

import pytest

from benchmarks.settings import Settings
from benchmarks.worker import Worker


@pytest.mark.slow
def test_the_memory_of_training_does_not_climb():
    """An allocator that kept freed memory once put what a step takes beside the last step's."""
    settings = Settings(method="cross_entropy", width=8, batch_size=128, examples=128)
    with Worker("benchmarks.jax_training:JaxTraining", settings) as training:
        taken = training("first_step")["temporary_bytes"]
        peaks = []
        for steps in (10, 30):
            training("reset_peak_memory")
            training("run", steps)
            peaks.append(training("peak_memory_bytes"))
    assert taken > 32 * 2**20  # What glibc always gives back.
    assert peaks[1] - peaks[0] < taken / 2
