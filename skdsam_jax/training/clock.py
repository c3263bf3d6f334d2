"""How long training takes, without what is not training."""

import time


class Clock:
    """Times the steps of an epoch; a process' first dispatch, which compiles, does not count."""

    def __init__(self) -> None:
        self._warm = False
        self.start_epoch()

    def start_epoch(self) -> None:
        """Forgets the steps of the epoch before."""
        self._steps, self._seconds = 0, 0.0
        self.restart()

    def restart(self) -> None:
        """What happened since the last tick was not training."""
        self._last = time.perf_counter()

    def tick(self, steps: int) -> float | None:
        """Seconds since the last tick, in which `steps` steps were taken; None if they compiled."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        if not self._warm:
            self._warm = True
            return None
        self._steps += steps
        self._seconds += seconds
        return seconds

    def rate(self, batch_size: int) -> float | None:
        """Images per second in this epoch; None if nothing was timed."""
        return self._steps * batch_size / self._seconds if self._steps else None
