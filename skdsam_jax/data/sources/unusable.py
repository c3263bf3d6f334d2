"""Files of a user's folder that cannot be used: all named at once, or left out."""

import logging
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from skdsam_jax import runtime

_log = logging.getLogger(__name__)

# How many a message names; a file in the cache has all of them.
_NAMED = 3


class Unusable(NamedTuple):
    """A file, and why it cannot be used."""

    path: pathlib.Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class UnusableError(Exception):
    """Some files cannot be used; `files` says which."""

    def __init__(self, files: Sequence[Unusable]) -> None:
        super().__init__("; ".join(map(str, files)))
        self.files = list(files)


def complain(root: pathlib.Path, files: Sequence[Unusable], folders: Sequence[str] = ()) -> str:
    """One line that says what is wrong with a folder of images, and what can be done.

    Args:
      root: the folder.
      files: what cannot be used.
      folders: what is wrong with the folders of classes, in words.
    """
    words = [*folders, *map(str, files)]
    advice = ""
    if files:
        them = "it" if len(files) == 1 else "them"
        advice = f"; take {them} out, or leave {them} out with config.data.skip_unreadable=True"
    if len(words) == 1:
        return words[0] + advice
    return f"config.data.data_dir: {len(words)} things are wrong: {_listed(root, words)}{advice}"


def warn(root: pathlib.Path, files: Sequence[Unusable]) -> None:
    """Says in the log which files are left out."""
    what = "1 file is" if len(files) == 1 else f"{len(files)} files are"
    _log.warning("%s: %s left out: %s", root, what, _listed(root, list(map(str, files))))


def _listed(root: pathlib.Path, words: Sequence[str]) -> str:
    """The first of them, how many more there are, and where all of them are listed."""
    text = "; ".join(words[:_NAMED])
    if len(words) <= _NAMED:
        return text
    text += f"; and {len(words) - _NAMED} more"
    path = runtime.cache_dir() / "unusable" / f"{root.name}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in words))
    except OSError:
        return text
    return f"{text}, all listed in {path}"
