"""Checkpoints on Orbax: verified when read, and never trusted to be whole.

A checkpoint is a folder `checkpoints/STEP` that plain Orbax reads: the item `state` holds `step`,
`params`, `model_state` and `opt_state`, the item `epoch` the sums of the unfinished epoch. Its
metadata holds the format's number, the experiment and the SHA-256 of the state: Orbax loads a
flipped bit without a word, so the digest decides whether a checkpoint is intact.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from skdsam_jax.options import ConfigError
from skdsam_jax.training.state import TrainState, digest
from skdsam_jax.training.step import EpochSums

FORMAT = 1

_log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """No checkpoint can be used; the message is one line that says why."""


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

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        if self._checkpointer is not None:
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
        for folder in sorted(_steps(self._directory), key=lambda path: -int(path.name)):
            try:
                return _read(folder, state, sums)
            except ConfigError:
                raise
            except Exception as error:  # Orbax and its file formats raise whatever they meet.
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                aside = _move_aside(folder)
                _log.warning("checkpoint %s is damaged (%s); moved to %s", folder, reason, aside)
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

        Args:
          state: of the run; its step names the checkpoint.
          sums: of the unfinished epoch.
          metadata: JSON-like, kept with it.
          score: what "best" is judged by; None for a checkpoint that is only recent.
        """
        items = {"state": _as_tree(state), "epoch": _as_tree(sums)}
        self._open().save_checkpointables_async(
            int(state.step),
            items,
            metrics=None if score is None else {"score": score},
            custom_metadata={**metadata, "format": FORMAT, "digest": digest(items)},
            overwrite=True,
        )

    def _open(self) -> ocp.training.Checkpointer:
        """Orbax's own list of steps; it must not see a damaged one, so `restore` comes first."""
        if self._checkpointer is None:
            policies = ocp.training.preservation_policies
            keep = [policies.LatestN(self._keep_latest)]
            if self._keep_best:
                keep.append(policies.BestN(get_metric_fn=_score, n=1))
            self._checkpointer = ocp.training.Checkpointer(
                self._directory,
                save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                preservation_policy=policies.AnyPreservationPolicy(keep),
                cleanup_tmp_directories=True,
            )
        return self._checkpointer


def _score(metrics: Mapping[str, float] | None) -> float:
    return float("-inf") if metrics is None else metrics["score"]


def _steps(directory: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in directory.glob("*") if path.name.isdecimal()]


def _as_tree(value: TrainState | EpochSums) -> dict[str, Any]:
    """A dict, so that whoever reads the checkpoint with plain Orbax needs none of our classes."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _read(folder: pathlib.Path, state: TrainState, sums: EpochSums) -> Restored:
    metadata = ocp.checkpointables_metadata(folder).custom_metadata
    if metadata["format"] > FORMAT:
        raise ConfigError(
            f"{folder}: written in format {metadata['format']}, this version reads up to {FORMAT}"
        )
    items = {"state": _as_tree(state), "epoch": _as_tree(sums)}
    loaded = ocp.load_checkpointables(folder, jax.tree.map(_abstract, items))
    if digest(loaded) != metadata["digest"]:
        raise CheckpointError("its contents do not match their SHA-256")
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
