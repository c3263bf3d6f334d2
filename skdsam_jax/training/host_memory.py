"""Bounds what an allocator that keeps memory between training steps on a CPU adds up to.

TCMalloc (`skdsam_jax.allocator`) keeps the block that a step's temporary memory lay in. While its
lists are young it puts a few small blocks there, the next step does not fit, and the process grows
by a step's memory. So free memory is given back whenever there is clearly more of it than steps
use: the lists outlive that, until there is room for the small blocks elsewhere and growth ends.
"""

import math
import os
import pathlib

from skdsam_jax import allocator

# Given back is what a process has beyond this many times what its steps use.
_MOST = 1.25

# After memory was given back, so many dispatches have touched again all that they use.
_SETTLING = 3

# How much more steps may have come to use, each time that there is more.
_GROWTH = 1.1


class Excess:
    """Finds when a process has clearly more memory than its steps use."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._used = math.inf
        self._seen, self._dispatches = 0, 0

    def found(self, resident: int) -> bool:
        """Whether free memory is to be given back now, which the caller then does.

        Args:
          resident: bytes that the process has after a dispatch.
        """
        self._seen = max(self._seen, resident)
        self._dispatches += 1
        measures = self._dispatches == _SETTLING
        # The first time may have had a step's memory beside another's, so it is done again.
        excess = measures and math.isinf(self._used)
        if measures:
            self._used = min(self._used, self._seen)
        if resident > _MOST * self._used:
            excess = True
            self._used *= _GROWTH
        if excess:
            self._seen, self._dispatches = 0, 0
        return excess


class KeptMemory:
    """Watches what a process keeps while it trains."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._excess: Excess | None = None

    def after_dispatch(self) -> None:
        """Gives free memory back where there is too much, and once what compilation has left."""
        if self._excess is None:
            self._excess = Excess()
        elif not self._excess.found(resident_bytes()):
            return
        allocator.release_free_memory()


def resident_bytes() -> int:
    """The memory of this process that lies in the machine's; Linux alone says so here."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
