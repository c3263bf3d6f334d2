"""Keeps what a training step on a CPU frees for the next one, within bounds, on request.

XLA takes the temporary memory of each step from glibc, a gigabyte for a ResNet-18. By itself glibc
gives blocks of that size back to the kernel, which clears every page anew for the next step: a
tenth to a quarter of a step's time. Told to keep them, glibc puts a few small blocks into one that
is free, the next step does not fit there, and the process grows by a step's memory, time and again.
So what is kept is given back whenever there is clearly more of it than steps use: glibc's lists of
free blocks outlive that, until there is room for the small ones elsewhere and growth ends.

Only the first of glibc's arenas can keep such blocks, and all threads share it only if the process
starts so: whoever sets `MALLOC_ARENA_MAX=1` in the environment asks for all of this. It is not the
default because XLA's compiler, of many threads, is slower with one arena.
"""

import ctypes
import math
import os
import pathlib
import platform

_ARENAS = "MALLOC_ARENA_MAX"

# Parameters of mallopt, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4

# glibc's own number of mappings, and the largest thresholds that it comes to by itself.
_MMAP_MAX, _LARGEST_MMAP_THRESHOLD = 65536, 32 * 2**20

# Given back is what a process has beyond this many times what its steps use.
_MOST = 1.25

# After memory was given back, so many dispatches have touched again all that they use.
_SETTLING = 3

# How much more steps may have come to use, each time that there is more.
_GROWTH = 1.1


def is_asked_for() -> bool:
    """Whether glibc is the allocator, of one arena, and otherwise left as it is by the user."""
    set_up = {name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    one_arena = set_up == {_ARENAS} and os.environ[_ARENAS] == "1"
    return one_arena and platform.libc_ver()[0] == "glibc"


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
    """While a process trains, what it frees stays with it."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._excess: Excess | None = None

    def after_dispatch(self) -> None:
        """Begins to keep what is freed; later gives it back where there is too much of it."""
        if self._excess is None:
            self._excess = Excess()
            _libc().mallopt(_M_MMAP_MAX, 0)
            _libc().mallopt(_M_TRIM_THRESHOLD, -1)
            give_back()  # What compilation has left.
        elif self._excess.found(resident_bytes()):
            give_back()

    def close(self) -> None:
        """Gives back what was kept; from now on glibc does so by itself."""
        if self._excess is not None:
            self._excess = None
            _libc().mallopt(_M_MMAP_MAX, _MMAP_MAX)
            _libc().mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
            _libc().mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
            give_back()


def resident_bytes() -> int:
    """The memory of this process that lies in the machine's; Linux alone says so here."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Returns every free page to the kernel."""
    _libc().malloc_trim(0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
