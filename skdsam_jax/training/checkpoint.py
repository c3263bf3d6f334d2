"""Checkpoints of a run that trains: verified when read, and never trusted to be whole.

What their files hold is said in `skdsam_jax.trained.checkpoint_files`.
"""

import contextlib
import dataclasses
import logging
import operator
import pathlib
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax

from skdsam_jax.options import ConfigError
from skdsam_jax.trained.checkpoint_files import (
    FORMAT,
    CheckpointError,
    checkpoint_folders,
    digest,
    quiet,
    read,
    reason,
)
from skdsam_jax.training.state import TrainState
from skdsam_jax.training.step import EpochSums

if TYPE_CHECKING:
    from orbax.checkpoint import v1 as ocp

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a checkpoint held."""

    state: TrainState
    sums: EpochSums
    metadata: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run; a context manager that finishes writing when it closes."""

    def __init__(
        self, directory: pathlib.Path, *, keep_latest: int = 2, keep_best: bool = False
    ) -> None:
        """Opens `directory`; nothing is read or written yet.

        Args:
          directory: holds one folder per checkpoint, named by its step.
          keep_latest: how many of the newest to keep.
          keep_best: also keep the one with the highest score.
        """
        self._directory = directory
        self._keep_latest = keep_latest
        self._keep_best = keep_best
        self._checkpointer: ocp.training.Checkpointer | None = None
        self._writing: tuple[int, ocp.AsyncResponse[bool]] | None = None
        self._error: str | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._finish_writing()
        if self._checkpointer is not None:
            with contextlib.suppress(Exception):  # The error of a save that was reported already.
                self._checkpointer.close()

    def restore(self, state: TrainState, sums: EpochSums) -> Restored | None:
        """Reads the newest intact checkpoint and moves damaged ones out of the way.

        Args:
          state: the state's shapes, types and shardings (arrays or `jax.ShapeDtypeStruct`).
          sums: the same of the sums of the unfinished epoch.

        Returns:
          What the checkpoint held, on the given shardings; None if the run has none.

        Raises:
          CheckpointError: there are checkpoints, and none of them is intact.
          ConfigError: a checkpoint was written by a newer version of this library.
        """
        for folder in checkpoint_folders(self._directory):
            try:
                with quiet():
                    return _read(folder, state, sums)
            except ConfigError:
                raise
            except Exception as error:  # Orbax and its file formats raise whatever they meet.
                aside = _move_aside(folder)
                _log.warning(
                    "checkpoint %s is damaged (%s); moved to %s", folder, reason(error), aside
                )
        damaged = sorted(path.name for path in self._directory.glob("damaged-*"))
        if damaged:
            raise CheckpointError(
                f"{self._directory}: no intact checkpoint ({', '.join(damaged)}); "
                "remove them to start over"
            )
        return None

    def save(
        self,
        state: TrainState,
        sums: EpochSums,
        metadata: Mapping[str, Any],
        *,
        score: float | None = None,
    ) -> None:
        """Writes a checkpoint in the background; returns once the arrays may change.

        One that cannot be written, on a full disk for example, is reported and costs the run
        nothing else: the next one is tried again. See `wait`.

        Args:
          state: of the run; its step names the checkpoint.
          sums: of the unfinished epoch.
          metadata: JSON-like, kept with it.
          score: what "best" is judged by; None for a checkpoint that is only recent.
        """
        self._finish_writing()
        step = int(state.step)
        items = {"state": _as_tree(state), "epoch": _as_tree(sums)}
        try:
            response = self._open().save_checkpointables_async(
                step,
                items,
                metrics=None if score is None else {"score": score},
                custom_metadata={**metadata, "format": FORMAT, "digest": digest(items)},
                overwrite=True,
            )
        except Exception as error:  # Whatever the file system makes of it.
            self._report(step, error)
        else:
            self._writing = (step, response)

    def wait(self) -> None:
        """Returns when the last `save` is on the disk.

        Raises:
          CheckpointError: it could not be written.
        """
        error = self._finish_writing()
        if error is not None:
            raise CheckpointError(
                f"{self._directory}: the last checkpoint was not written: {error}"
            )

    def _finish_writing(self) -> str | None:
        """Waits for the checkpoint that is being written; says why it was not, if it was not."""
        if self._writing is not None:
            (step, response), self._writing = self._writing, None
            self._error = None
            try:
                response.result()
            except Exception as error:
                self._report(step, error)
        return self._error

    def _report(self, step: int, error: Exception) -> None:
        if jax.process_count() > 1:
            raise error  # The other processes wait for this one, and would wait for ever.
        self._error = reason(error)
        _log.warning("the checkpoint of step %d was not written: %s", step, self._error)
        # Orbax goes on reporting this error, and counts the step among its own.
        self._checkpointer = None
        for folder in self._directory.glob(f"{step}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _open(self) -> "ocp.training.Checkpointer":
        """Orbax's own list of steps; it must not see a damaged one, so `restore` comes first."""
        if self._checkpointer is None:
            # As in `checkpoint_files.read`: the first step does not wait for this import.
            from orbax.checkpoint import v1 as ocp

            policies = ocp.training.preservation_policies
            keep = [policies.LatestN(self._keep_latest)]
            if self._keep_best:
                keep.append(
                    policies.BestN(
                        get_metric_fn=operator.itemgetter("score"),
                        n=1,
                        keep_checkpoints_without_metrics=False,
                    )
                )
            self._checkpointer = ocp.training.Checkpointer(
                self._directory,
                save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                preservation_policy=policies.AnyPreservationPolicy(keep),
                cleanup_tmp_directories=True,
            )
        return self._checkpointer


def _as_tree(value: TrainState | EpochSums) -> dict[str, Any]:
    """A dict, so that whoever reads the checkpoint with plain Orbax needs none of our classes."""
    tree = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    # What a run does not keep, a memory or an average, leaves no trace of that.
    return {name: part for name, part in tree.items() if name not in ("memory", "average") or part}


def _read(folder: pathlib.Path, state: TrainState, sums: EpochSums) -> Restored:
    items = {"state": _as_tree(state), "epoch": _as_tree(sums)}
    loaded, metadata = read(folder, jax.tree.map(_abstract, items))
    return Restored(TrainState(**loaded["state"]), EpochSums(**loaded["epoch"]), metadata)


def _abstract(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)


def _move_aside(folder: pathlib.Path) -> pathlib.Path:
    """Renames a damaged step: Orbax would count it, and refuse to save below it."""
    for attempt in range(1000):
        aside = folder.with_name(f"damaged-{folder.name}" + (f"-{attempt}" if attempt else ""))
        if not aside.exists():
            return folder.rename(aside)
    raise CheckpointError(f"{folder.parent}: too many damaged checkpoints; remove them")
