"""The files of a checkpoint: read with Orbax, and verified by their SHA-256.

A checkpoint is a folder `checkpoints/STEP` that plain Orbax reads: the item `state` holds `step`,
`params`, `model_state` and what else training needs, the item `epoch` the sums of the unfinished
epoch. Its metadata holds the format's number, the experiment and the SHA-256 of both items: Orbax
loads a flipped bit without a word, so the digest decides whether a checkpoint is intact.
"""

import collections
import contextlib
import hashlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging as absl_logging

from skdsam_jax.options import ConfigError

FORMAT = 1


class CheckpointError(RuntimeError):
    """No checkpoint can be used; the message is one line that says why."""


def digest(*trees: Any) -> str:
    """SHA-256 over the names, types, shapes and bytes of all arrays of `trees`, in name order.

    Args:
      *trees: pytrees of arrays; the order of the arguments counts.

    Returns:
      64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for tree in trees:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        for name, leaf in sorted((jax.tree_util.keystr(path), leaf) for path, leaf in leaves):
            array = np.asarray(leaf)
            sha.update(f"{name} {array.dtype} {array.shape}\n".encode())
            # As bytes, because NumPy hands out no buffer of bfloat16.
            sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def checkpoint_folders(directory: pathlib.Path) -> list[pathlib.Path]:
    """The folders of a run's checkpoints, the newest first; none where there is no `directory`."""
    folders = [path for path in directory.glob("*") if path.name.isdecimal()]
    return sorted(folders, key=lambda path: -int(path.name))


def read(
    folder: pathlib.Path, abstract: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Reads a checkpoint and verifies it.

    Args:
      folder: of the checkpoint.
      abstract: the items' shapes, types and shardings as `jax.ShapeDtypeStruct`; None: NumPy
        arrays of whatever the checkpoint says it holds.

    Returns:
      The items by name, and the metadata that was saved with them.

    Raises:
      ConfigError: it was written by a newer version of this library.
      CheckpointError: its contents do not match their SHA-256. Orbax and its file formats raise
        more than that; see `reason`.
    """
    # Not before it is needed: a new run takes its first step before Orbax, half a second, is there.
    from orbax.checkpoint import v1 as ocp

    found = ocp.checkpointables_metadata(folder)
    metadata = found.custom_metadata
    if not metadata or not {"format", "digest"} <= set(metadata):
        raise CheckpointError("its metadata is missing")
    if metadata["format"] > FORMAT:
        raise ConfigError(
            f"{folder}: written in format {metadata['format']}, this version reads up to {FORMAT}"
        )
    if abstract is None:
        abstract = _on_the_host(found.metadata)
    items = ocp.load_checkpointables(folder, abstract)
    if digest(items) != metadata["digest"]:
        raise CheckpointError("its contents do not match their SHA-256")
    return items, metadata


def reason(error: BaseException) -> str:
    """What went wrong at the root, without what it was wrapped in, in at most 200 characters."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Orbax silent about what its caller reports itself."""
    before = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.FATAL)
    try:
        yield
    finally:
        absl_logging.set_verbosity(before)


def _on_the_host(described: Any) -> Any:
    """NumPy arrays in place of Orbax's descriptions of arrays, in containers as they were saved.

    The digest covers the arrays' names. Optax's states are named tuples, and stand in tuples;
    Orbax describes them as dicts that stand in lists.
    """
    if isinstance(described, Mapping):
        return {name: _on_the_host(value) for name, value in described.items()}
    if isinstance(described, (list, tuple)):
        return [
            collections.namedtuple("State", value)(**_on_the_host(value))
            if isinstance(value, Mapping)
            else _on_the_host(value)
            for value in described
        ]
    return None if described is None else np.empty(described.shape, described.dtype)
