"""Stopping a run from outside: SIGTERM and Ctrl-C."""

import signal

from skdsam_jax.signals import StopRequest


class InterruptedRunError(Exception):
    """The run was asked to stop and has saved its state."""


class Interruption(StopRequest):
    """Notes that the run was asked to stop, so that the loop can between two steps.

    A second Ctrl-C does not wait for the step.
    """

    def note(self, number: int) -> None:
        """Raises KeyboardInterrupt at a second Ctrl-C."""
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        super().note(number)
