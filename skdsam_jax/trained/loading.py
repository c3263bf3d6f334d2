"""From a run's folder to the network in it; nothing is locked, moved or written."""

import json
import logging
import operator
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from skdsam_jax.models import find_backbone
from skdsam_jax.options import ConfigError
from skdsam_jax.references import is_reference
from skdsam_jax.trained.checkpoint_files import (
    CheckpointError,
    checkpoint_folders,
    digest,
    quiet,
    read,
    reason,
)
from skdsam_jax.trained.network import Trained
from skdsam_jax.trained.record import FILE, read_record
from skdsam_jax.trained.unrecorded import look_up_record

_log = logging.getLogger(__name__)

# How long the removal of a checkpoint may take; one that is still there then is damaged.
_REMOVAL_SECONDS = 0.5

Items = dict[str, Any]


def load(
    workdir: str | os.PathLike[str],
    which: str | int = "latest",
    *,
    raw: bool = False,
    dtype: jax.typing.DTypeLike | None = None,
) -> Trained:
    """Loads the network of a run, finished or not, and verifies it by its SHA-256.

    The folder may be one in which another process trains at this moment, on any devices; the arrays
    go to the default device.

    Args:
      workdir: the run's folder.
      which: "latest", the newest checkpoint, or the one before if it is damaged; "best", of those
        that were kept the one of the highest validation accuracy; or the step of one.
      raw: of a run that keeps a moving average of its weights (`config.training.ema_decay`), give
        the weights that were trained; otherwise their average, of which its measures are.
      dtype: what the network computes in; None: float32, under x64 float64.

    Returns:
      The network, ready for uint8 images.

    Raises:
      ConfigError: there is no such folder, run or step, no validation by which one is best, it was
        written by a newer version of this library, or its backbone is the user's own and its module
        cannot be imported.
      CheckpointError: there is no checkpoint, or what was asked for is damaged.
    """
    path = pathlib.Path(workdir).expanduser().absolute()
    config = _read_config(path)
    _check_backbone(path, config["model"].get("name", ""))
    record = read_record(path)
    state = _read_state(path, which)
    average = state.get("average", {})
    chosen = average if average and not raw else state
    params, model_state = chosen["params"], chosen["model_state"]
    num_classes = params["classifier"]["dense"]["bias"].shape[0]
    if record is None:
        record = look_up_record(path, config, num_classes)
    if len(record.class_names) != num_classes:
        raise ConfigError(
            f"workdir {path}: its {FILE} names {len(record.class_names)} classes, "
            f"its network has {num_classes}"
        )
    return Trained(
        config=config,
        record=record,
        step=int(state["step"]),
        params=jax.device_put(params),
        model_state=jax.device_put(model_state),
        params_digest=digest(
            state["params"], state["model_state"], state.get("memory", {}), average
        ),
        dtype=jnp.dtype(_default_dtype() if dtype is None else dtype),
    )


def _default_dtype() -> str:
    return "float64" if jax.config.jax_enable_x64 else "float32"


def _read_config(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ConfigError(f"workdir {path}: no such folder")
    file = path / "config.json"
    if not file.is_file():
        raise ConfigError(f"workdir {path}: has no config.json, so no run lives there")
    try:
        config = dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        config = {}
    if not all(isinstance(config.get(name), Mapping) for name in ("data", "method", "model")):
        raise ConfigError(f"workdir {path}: its config.json is damaged")
    return config


def _check_backbone(path: pathlib.Path, name: str) -> None:
    """Raises a ConfigError if the network's own code is not there any more."""
    try:
        find_backbone(name) if is_reference(name) else None
    except ConfigError as error:
        raise ConfigError(f"workdir {path}: {error}") from None


def _read_state(path: pathlib.Path, which: str | int) -> Items:
    """The item "state" of the checkpoint that was asked for, as NumPy arrays."""
    directory = path / "checkpoints"
    if which == "latest":
        return _read_latest(directory)
    if which == "best":
        return _read_best(directory, path / "metrics.jsonl")
    try:
        step = operator.index(which)
    except TypeError:
        raise ConfigError(
            f"which: takes latest, best or the step of a checkpoint, not {which!r}"
        ) from None
    state = _read_intact(directory / str(step))
    if state is None:
        there = ", ".join(folder.name for folder in reversed(checkpoint_folders(directory)))
        raise ConfigError(
            f"which: {directory} has no checkpoint of step {step}; there are {there or 'none'}"
        )
    return state


def _read_latest(directory: pathlib.Path) -> Items:
    """The newest intact checkpoint. The list is read anew each time: a run may be writing to it."""
    passed: set[pathlib.Path] = set()
    damages: list[CheckpointError] = []
    while folders := [path for path in checkpoint_folders(directory) if path not in passed]:
        passed.add(folders[0])
        try:
            state = _read_intact(folders[0])
        except CheckpointError as damage:
            damages.append(damage)
            continue
        if state is not None:
            if damages:
                _log.warning("%s; %s is loaded", "; ".join(map(str, damages)), folders[0])
            return state
    if damages:
        raise damages[0]
    raise CheckpointError(f"{directory}: has no checkpoint")


def _read_best(directory: pathlib.Path, metrics: pathlib.Path) -> Items:
    """The kept checkpoint of the highest validation accuracy, of equals the newest."""
    passed: set[pathlib.Path] = set()
    while True:
        # In this order: the line of an epoch is written before its checkpoint.
        folders = {int(path.name): path for path in checkpoint_folders(directory)}
        accuracies = _validation_accuracies(metrics)
        steps = [step for step in folders if step in accuracies and folders[step] not in passed]
        if not steps:
            raise ConfigError(
                f"which: {directory} has no best checkpoint, for none of them was measured on a "
                "validation split (config.data.validation_fraction); takes latest or a step"
            )
        best = folders[max(steps, key=lambda step: (accuracies[step], step))]
        state = _read_intact(best)
        if state is not None:
            return state
        passed.add(best)


def _validation_accuracies(metrics: pathlib.Path) -> dict[int, float]:
    """Step to accuracy, of the epochs after which the validation split was evaluated."""
    accuracies = {}
    for text in metrics.read_text().splitlines() if metrics.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:  # It is being written.
            continue
        if "validation" in line:
            accuracies[line["step"]] = line["validation"]["accuracy"]
    return accuracies


def _read_intact(folder: pathlib.Path) -> Items | None:
    """The state in a checkpoint; None if there is none, or not any more.

    Raises:
      CheckpointError: it is damaged.
      ConfigError: a newer version wrote it.
    """
    try:
        with quiet():
            return read(folder)[0]["state"]
    except ConfigError:
        raise
    except Exception as error:  # Orbax and its file formats raise whatever they meet.
        # A run removes old checkpoints while it writes new ones, one file after another.
        deadline = time.monotonic() + _REMOVAL_SECONDS
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(_REMOVAL_SECONDS / 10)
        if not folder.exists():
            return None
        raise CheckpointError(f"checkpoint {folder} is damaged ({reason(error)})") from None
