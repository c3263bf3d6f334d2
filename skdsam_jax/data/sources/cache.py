"""Decoded images kept on disk, so that a second start decodes nothing.

An entry is one uncompressed `.npz` file: it appears whole or not at all, whoever else writes it
at the same time, and its checksums are verified when it is read.
"""

import logging
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from skdsam_jax import runtime

T = TypeVar("T")

_log = logging.getLogger(__name__)


def load_or_make(
    entry: str,
    make: Callable[[], Mapping[str, np.ndarray]],
    build: Callable[[Mapping[str, np.ndarray]], T],
) -> T:
    """Builds something from arrays that are kept in the cache, or made and then kept.

    Args:
      entry: name of the file in `<runtime.cache_dir()>/decoded`; it must change with the contents.
      make: makes the arrays.
      build: turns the arrays into the result; a KeyError or ValueError says that they are damaged,
        or, when they were just made, that they cannot be used: they are not kept then.

    Returns:
      What `build` returned.
    """
    path = runtime.cache_dir() / "decoded" / entry
    if path.exists():
        try:
            return build(_load(path))
        # NumPy and zipfile say in these ways that a file is not what it should be.
        except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            _log.warning("%s: damaged, decoding again (%s)", path, error)
    arrays = make()
    result = build(arrays)
    try:
        _save(path, arrays)
    except OSError as error:
        _log.warning("%s: decoded images could not be kept (%s)", path, error.strerror)
    return result


def _load(path: pathlib.Path) -> dict[str, np.ndarray]:
    # Opened here, because NumPy leaves a damaged archive open.
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _save(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            np.savez(file, **arrays)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
