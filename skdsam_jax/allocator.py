"""The allocator of a command's process: TCMalloc, where the machine has it.

XLA takes the temporary memory of each training step on a CPU from the process' allocator, a
gigabyte and more for a ResNet-18. The C library gives blocks of that size back to the kernel, which
clears every page anew for the next step. TCMalloc keeps them (Debian and Ubuntu:
libtcmalloc-minimal4; Fedora: gperftools-libs; conda: gperftools). Once it has put something small
into one of them it takes another beside it, and from then on no more: a process grows by one step's
temporary memory.

A process has the allocator that it was started with, so a command starts itself once more.
"""

import contextlib
import ctypes
import os
import pathlib
import sys

# Either library; the first has the allocator alone, the other a profiler too.
_LIBRARIES = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")

_VARIABLE = "LD_PRELOAD"

# What gperftools' malloc_extension_c.h declares, and other allocators do not have.
_OWN_FUNCTION = "MallocExtension_ReleaseFreeMemory"


def restart_with_tcmalloc() -> None:
    """Starts this process' program anew, with TCMalloc, on Linux where it is installed.

    The process keeps its number, its files and its terminal. Whoever has set LD_PRELOAD, if to
    nothing, has chosen: then, and where there is no TCMalloc, this returns and all stays as it is.
    It belongs before anything slow is imported.
    """
    if not sys.platform.startswith("linux") or not sys.executable or _VARIABLE in os.environ:
        return
    library = find_tcmalloc()
    if library is None:
        return
    arguments = [sys.executable, *sys.orig_argv[1:]]
    with contextlib.suppress(OSError):
        os.execve(sys.executable, arguments, {**os.environ, _VARIABLE: library})


def find_tcmalloc() -> str | None:
    """The file of TCMalloc that the dynamic linker finds, None where there is none.

    It stays loaded, next to the allocator in use, which does not change by that.
    """
    for name in _LIBRARIES:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            # By its whole path: a linker that starts a program may look in fewer places.
            for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
                path = line.split(maxsplit=5)[-1]
                if pathlib.Path(path).name.startswith(name) and pathlib.Path(path).is_file():
                    return path
    return None


def name() -> str:
    """Which allocator this process was started with: "tcmalloc", or "default"."""
    linux = sys.platform.startswith("linux")
    return "tcmalloc" if linux and hasattr(ctypes.CDLL(None), _OWN_FUNCTION) else "default"
