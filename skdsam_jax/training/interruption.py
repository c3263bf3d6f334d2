"""Stopping a run from outside: SIGTERM and Ctrl-C."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Self

from skdsam_jax.signals import StopRequest

_ENDED = "error: ended at once; the same command goes on from the last checkpoint\n"


class InterruptedRunError(Exception):
    """The run was asked to stop and has saved its state."""


class Interruption(StopRequest):
    """Notes that the run was asked to stop, so that the loop can between two steps.

    Python runs a handler only between two of its own instructions, and a compilation is one that
    takes minutes. So a thread listens too: it answers at once, and a second Ctrl-C ends the process
    whatever it computes, where that was asked for.
    """

    def __init__(self, *, end_process: bool = False) -> None:
        """Nothing is listened to yet.

        Args:
          end_process: a second Ctrl-C ends the process at once, with code 130; it otherwise raises
            KeyboardInterrupt as soon as Python gets to it.
        """
        super().__init__()
        self._end_process = end_process
        self._answer: Callable[[], None] = lambda: None
        self._interrupts = 0
        self._listener: threading.Thread | None = None

    def when_requested(self, answer: Callable[[], None]) -> None:
        """Sets what is called, once and in another thread, at the first signal."""
        self._answer = answer

    def note(self, number: int) -> None:
        """Raises KeyboardInterrupt at a second Ctrl-C, unless that ends the process."""
        self._interrupts += number == signal.SIGINT
        if number == signal.SIGINT and self._interrupts > 1 and not self._end_process:
            raise KeyboardInterrupt
        super().note(number)

    def __enter__(self) -> Self:
        super().__enter__()
        if threading.current_thread() is threading.main_thread():
            self._hear, self._tell = os.pipe()
            os.set_blocking(self._tell, False)
            self._told_before = signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
        return self

    def __exit__(self, *arguments: object) -> None:
        if self._listener is not None:
            signal.set_wakeup_fd(self._told_before)
            os.close(self._tell)
            self._listener.join()
            os.close(self._hear)
            self._listener = None
        super().__exit__(*arguments)

    def _listen(self) -> None:
        """Reads the number of every signal, which Python's C code writes when it comes."""
        heard = []
        while number := os.read(self._hear, 1):
            if number[0] not in (signal.SIGINT, signal.SIGTERM):
                continue
            heard.append(number[0])
            if len(heard) == 1:
                self._answer()
            if self._end_process and heard.count(signal.SIGINT) > 1:
                for child in multiprocessing.active_children():
                    child.kill()
                os.write(2, _ENDED.encode())
                os._exit(128 + signal.SIGINT)  # As shells have it.
