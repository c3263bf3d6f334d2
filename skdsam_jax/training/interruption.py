"""Stopping a run from outside: SIGTERM and Ctrl-C."""

import signal
import threading
import types


class InterruptedRunError(Exception):
    """The run was asked to stop and has saved its state."""


class Interruption:
    """Notes that SIGTERM or SIGINT came, so that the loop can stop between two steps.

    A context manager; on leaving, the signals mean what they meant before. A second Ctrl-C does not
    wait for the step.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is not threading.main_thread():
            return self  # Python delivers signals to the main thread alone.
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
