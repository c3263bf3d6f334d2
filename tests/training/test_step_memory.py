"""What TCMalloc keeps of a step on a CPU for the next one is bounded."""

import os
import subprocess
import sys

import pytest

from skdsam_jax import allocator

# Steps of a small network in a process of its own; prints the bytes of a step's temporary memory,
# the peak after the first steps, and page faults per step of the last.
TRAINING = """
import resource, sys
from benchmarks.jax_training import JaxTraining
from benchmarks.settings import Settings

training = JaxTraining(Settings(method="cross_entropy", width=8, batch_size=128, examples=128))
taken = training.first_step()["temporary_bytes"]
training.run(10)
training.reset_peak_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
training.run(20)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(taken, training.peak_memory_bytes(), faults // 20)
"""


def _train(preloaded):
    done = subprocess.run(
        [sys.executable, "-c", TRAINING],
        env=os.environ | {"LD_PRELOAD": preloaded},
        check=True,
        capture_output=True,
        text=True,
    )
    return map(int, done.stdout.split())


@pytest.mark.slow
@pytest.mark.skipif(allocator.find_tcmalloc() is None, reason="TCMalloc is not installed")
def test_a_step_finds_the_memory_of_the_last_one_and_seldom_takes_more():
    taken, kept, faults = _train(allocator.find_tcmalloc())
    _, peak, all_faults = _train("")
    assert taken > 32 * 2**20  # What glibc always gives back.
    assert kept < peak + 1.5 * taken
    assert faults < all_faults / 2
