"""The allocator of a command's process: TCMalloc, where the machine has it.

XLA takes the temporary memory of each training step on a CPU from the process' allocator, a
gigabyte and more for a ResNet-18. The C library gives blocks of that size back to the kernel, which
clears every page anew for the next step. TCMalloc keeps them (Debian and Ubuntu:
libtcmalloc-minimal4; Fedora: gperftools-libs; conda: gperftools). Within its first steps a process
then grows once by a step's temporary memory, for which there is no explanation yet.

A process has the allocator that it was started with, so a command starts itself once more.
"""

import contextlib
import ctypes
import os
import pathlib
import sys
import sysconfig
from collections.abc import Iterator

# Either library; the first has the allocator alone, the other a profiler too.
_LIBRARIES = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")

# The dynamic linker's variable, and what stands between names in it.
_VARIABLE = "LD_PRELOAD"
_SEPARATORS = {":", " "}

# What gperftools' malloc_extension_c.h declares, and other allocators do not have.
_OWN_FUNCTION = "MallocExtension_ReleaseFreeMemory"


def restart_with_tcmalloc() -> None:
    """Starts this process' program anew, with TCMalloc, on Linux where it is installed.

    The process keeps its PID, files and terminal. Whoever has set LD_PRELOAD, if to nothing, has
    chosen: then, and where there is no TCMalloc, this returns and all stays as it is. It belongs
    before anything slow is imported.
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
    """The file of TCMalloc, None where there is none; it is not loaded.

    To load it into a process that has another allocator would let it free what that one gave out.
    """
    needed = _kind(sys.executable)
    if needed is None:
        return None
    for name in _LIBRARIES:
        for folder in _folders():
            path = folder / name
            if not _SEPARATORS & set(str(path)) and _kind(path) == needed:
                return str(path)
    return None


def _kind(file: str | os.PathLike[str]) -> tuple[bytes, bytes] | None:
    """Word size and processor of an ELF file; None of any other, or where there is none."""
    try:
        with open(file, "rb") as opened:
            header = opened.read(20)
    except OSError:
        return None
    return (header[4:5], header[18:20]) if header.startswith(b"\x7fELF") else None


def _folders() -> Iterator[pathlib.Path]:
    """Where libraries are: those the user added, Python's own such as conda's, and the system's."""
    added = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    yield from (pathlib.Path(folder) for folder in added if folder)
    yield pathlib.Path(sys.base_prefix) / "lib"
    if architecture := sysconfig.get_config_var("MULTIARCH"):
        yield pathlib.Path("/usr/lib") / architecture
    yield from map(pathlib.Path, ("/usr/lib64", "/usr/lib", "/usr/local/lib"))


def name() -> str:
    """Which allocator this process was started with: "tcmalloc", or "default"."""
    linux = sys.platform.startswith("linux")
    return "tcmalloc" if linux and hasattr(ctypes.CDLL(None), _OWN_FUNCTION) else "default"
