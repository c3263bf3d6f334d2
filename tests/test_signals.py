"""Being asked to stop: noted, handed on, and over when the context is."""

import signal
import threading

import pytest

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
