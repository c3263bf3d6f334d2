"""Being asked to stop: noted, handed on, and over when the context is."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from config_files import ROOT
from patience import HANGING

from skdsam_jax.signals import StopRequest
from skdsam_jax.training.interruption import Interruption

NUMBERS = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_noted_and_then_means_what_it_meant_before(number):
    before = [signal.getsignal(number) for number in NUMBERS]
    with StopRequest() as request:
        assert not request.requested
        signal.raise_signal(number)
        assert request.requested
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_another_thread_leaves_the_signals_alone():
    before = [signal.getsignal(number) for number in NUMBERS]
    seen = []

    def enter():
        with StopRequest():
            seen.extend(signal.getsignal(number) for number in NUMBERS)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == before


def test_a_run_waits_for_its_step_once():
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_answered_once_and_at_once(number):
    answered = threading.Event()
    count = []
    with Interruption() as interruption:
        interruption.when_requested(lambda: (count.append(number), answered.set()))
        signal.raise_signal(number)
        assert answered.wait(HANGING)
        signal.raise_signal(signal.SIGTERM)
    assert count == [number]


def test_what_was_told_of_signals_before_is_told_again():
    hear, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell)
    try:
        with Interruption():
            pass
        assert signal.set_wakeup_fd(before) == tell
    finally:
        signal.set_wakeup_fd(before)
        os.close(hear)
        os.close(tell)


# The main thread is where Python hears of no signal, as within a compilation.
COMPUTING = """
import ctypes, signal
from skdsam_jax.training import Interruption
with Interruption(end_process=True) as interruption:
    interruption.when_requested(lambda: print("asked", flush=True))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    print("computing", flush=True)
    ctypes.CDLL(None).sleep(100_000)
"""


def test_a_second_ctrl_c_ends_a_process_that_is_computing():
    process = subprocess.Popen(
        [sys.executable, "-c", COMPUTING],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        for said in ("computing\n", "asked\n"):
            assert process.stdout.readline() == said
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=HANGING)
    assert process.returncode == 130
    assert errors == "error: ended at once; the same command goes on from the last checkpoint\n"
