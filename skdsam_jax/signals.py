"""Being asked to stop from outside: SIGTERM and Ctrl-C. Imports no other module of the library."""

import signal
import threading
import types
from typing import Self


class StopRequest:
    """Whether SIGTERM or SIGINT has come, for who stops at a moment of its own choice.

    A context manager; on leaving, the signals mean what they meant before. Outside the main thread
    it notes nothing, as Python delivers signals to the main thread alone.

    Attributes:
      requested: whether one has come since entering.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def note(self, number: int) -> None:
        """Called at each signal, with its number."""
        self.requested = True

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        self.note(number)
