"""What a step on a CPU frees is kept for the next one on request, and does not pile up."""

import os
import platform
import subprocess
import sys

import pytest

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


def _train(**variables):
    users = ("MALLOC_", "GLIBC_TUNABLES")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(users)}
    command = [sys.executable, "-c", TRAINING]
    environment = inherited | variables
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return map(int, done.stdout.split())


@pytest.mark.slow
def test_a_step_finds_the_memory_of_the_last_one_and_seldom_takes_more():
    taken, kept, faults = _train(MALLOC_ARENA_MAX="1")
    _, peak, all_faults = _train()
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


@pytest.mark.parametrize(
    ("libc", "variables", "asked"),
    [
        ("glibc", {"MALLOC_ARENA_MAX": "1"}, True),
        ("glibc", {}, False),
        ("glibc", {"MALLOC_ARENA_MAX": "2"}, False),
        ("glibc", {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "1"}, False),
        ("glibc", {"MALLOC_ARENA_MAX": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}, False),
        ("", {"MALLOC_ARENA_MAX": "1"}, False),
    ],
)
def test_one_arena_of_glibc_asks_for_it(monkeypatch, libc, variables, asked):
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, "2.36"))
    monkeypatch.setattr(os, "environ", variables)
    assert host_memory.is_asked_for() == asked


def test_memory_is_kept_from_the_first_dispatch_to_the_end(monkeypatch):
    """And given back after compilation, when it is too much, and at the end."""
    calls = []

    class Libc:
        def mallopt(self, parameter, value):
            calls.append((parameter, value))

        def malloc_trim(self, pad):
            calls.append("given back")

    monkeypatch.setattr(host_memory, "_libc", Libc)
    monkeypatch.setattr(host_memory, "resident_bytes", lambda: 100)
    memory = KeptMemory()
    memory.close()
    assert calls == []
    memory.after_dispatch()
    assert calls == [(-4, 0), (-1, -1), "given back"]
    for _ in range(10):
        memory.after_dispatch()
    assert calls[3:] == ["given back"]
    memory.close()
    assert calls[4:] == [(-4, 65536), (-3, 32 * 2**20), (-1, 64 * 2**20), "given back"]
    memory.close()
    assert len(calls) == 8
