"""What TCMalloc keeps of a step on a CPU for the next one does not pile up."""

import os
import subprocess
import sys

import pytest

from skdsam_jax import allocator
from skdsam_jax.training import host_memory
from skdsam_jax.training.host_memory import Excess, KeptMemory

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


def _found(*resident):
    excess = Excess()
    return [number for number, bytes_ in enumerate(resident, 1) if excess.found(bytes_)]


def test_a_process_that_takes_no_more_is_measured_twice_and_left_alone():
    assert _found(*[100] * 50) == [3]


def test_what_lies_beside_a_step_is_given_back():
    assert _found(100, 100, 100, 100, 100, 100, 200, 100, 100, 100, 300) == [3, 7, 11]


def test_the_first_measurement_may_be_too_large():
    assert _found(100, 200, 200, 100, 100, 100, 100, 200) == [3, 8]


def test_nothing_waits_until_memory_is_measured_again():
    assert _found(100, 100, 100, 200) == [3, 4]


def test_steps_may_come_to_use_more():
    """By a tenth each time that there was too much, whether or not it is measured between."""
    assert _found(*[100] * 6, *[130] * 50) == [3, 7]
    assert _found(*[100] * 6, *[200] * 50) == [3, 7, 8, 9, 10, 11]


def test_free_memory_is_given_back_after_compilation_and_when_there_is_too_much(monkeypatch):
    released, resident = [], [100] * 6 + [200, 100, 100]
    monkeypatch.setattr(allocator, "release_free_memory", lambda: released.append(len(resident)))
    monkeypatch.setattr(host_memory, "resident_bytes", lambda: resident.pop(0))
    memory = KeptMemory()
    for _ in range(10):
        memory.after_dispatch()
    # At first without a look; then as `Excess` finds it.
    assert released == [9, 6, 2]
