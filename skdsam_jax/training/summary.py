"""`summary.json`: what a run was, what it reached, and on what."""

import importlib.metadata
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax

from skdsam_jax import __version__, allocator, runtime
from skdsam_jax.experiment import config
from skdsam_jax.trained.checkpoint_files import digest
from skdsam_jax.training.state import TrainState

if TYPE_CHECKING:
    from skdsam_jax.training.trainer import Trainer

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def make_summary(
    trainer: "Trainer",
    state: TrainState,
    history: Sequence[dict[str, Any]],
    start: Mapping[str, Any] | None,
    first_epoch: int = 0,
    failure: str | None = None,
) -> dict[str, Any]:
    """The summary of a run whose finished epochs are `history`.

    `test_accuracy` is that of the last evaluated epoch. `best_test_accuracy` is an oracle: it was
    chosen by looking at the test set, and is no result. `best_validation_step` is that of the
    checkpoint that is kept as the best on the validation split. `weights` says of which weights all
    measures are: "trained", or, where the run keeps their moving average, "averaged".

    Args:
      trainer: of the run.
      state: after the last step.
      history: a line of metrics per finished epoch.
      start: the record of what the network started from; None: from random numbers.
      first_epoch: that this process took steps of, counted from 0. Its machine is the one that the
        summary names, and the images per second are its own.
      failure: why the run ended before its time; None: it did not, or was asked to.

    Returns:
      Plain values only.
    """
    experiment = trainer.experiment
    evaluated = [line for line in history if "test" in line]
    last = evaluated[-1]["test"] if evaluated else {}
    best = max(evaluated, key=lambda line: line["test"]["accuracy"], default=None)
    validated = [line for line in history if "validation" in line]
    # The later of equals, as `Checkpoints` keeps them.
    chosen = max(
        validated, key=lambda line: (line["validation"]["accuracy"], line["step"]), default=None
    )
    timed = history[first_epoch:]
    rates = [line["images_per_second"] for line in timed if line["images_per_second"]]
    return {
        "method": experiment.method.name,
        "model": experiment.model.name,
        "dataset": trainer.dataset.name,
        "dataset_fingerprint": trainer.dataset.fingerprint,
        "seed": experiment.seed,
        "initial": start,
        "epochs": len(history),
        "finished": len(history) == experiment.training.epochs,
        "failure": failure,
        "steps": int(state.step),
        "weights": "averaged" if state.average else "trained",
        "test_accuracy": last.get("accuracy"),
        "best_test_accuracy": best["test"]["accuracy"] if best else None,
        "best_epoch": best["epoch"] if best else None,
        "exit_accuracies": last.get("exit_accuracies"),
        "ensemble_accuracy": last.get("ensemble_accuracy"),
        "other_accuracies": {name: last[f"{name}_accuracy"] for name in last.get("others", ())},
        "attention_weights": last.get("attention_weights"),
        "attention_entropy": last.get("attention_entropy"),
        "test": last or None,
        "validation": history[-1].get("validation") if history else None,
        "best_validation_step": chosen["step"] if chosen else None,
        "skipped_steps": sum(line["skipped_steps"] for line in history),
        "images_per_second": statistics.median(rates) if rates else None,
        "parameters": trainer.parameter_count,
        "images_per_step": trainer.images_per_step,
        "params_digest": digest(state.params, state.model_state, state.memory, state.average),
        "config": config.to_dict(experiment),
        **describe_origin(trainer.mesh),
    }


def describe_origin(mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """What numbers come from: the command, the code, and what it ran on.

    Args:
      mesh: the devices that computed them.

    Returns:
      `command`, `commit`, `versions`, `xla_flags`, `allocator` and `hardware`.
    """
    return {
        "command": describe_command(),
        "commit": describe_commit(),
        "versions": describe_versions(),
        "xla_flags": runtime.xla_flags(),
        "allocator": allocator.name(),
        "hardware": describe_hardware(mesh),
    }


def describe_command() -> str:
    """What this process was started as, such as "train.py --config configs/digits.py"."""
    program = os.path.basename(sys.argv[0])
    if program == "__main__.py":
        program = "python -m skdsam_jax"
    return f"{program} {shlex.join(sys.argv[1:])}".strip()


def describe_versions() -> dict[str, str]:
    """Python and the packages that decide the numbers."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "skdsam_jax": __version__, **versions}


def describe_commit() -> str | None:
    """The commit of the clone that this package is imported from, None where it is none.

    A clone with changes that were not committed says "dirty" behind it.
    """
    folder = pathlib.Path(__file__).parent
    # Not of a repository that the package was merely installed into.
    is_clone = [
        "git",
        "-C",
        str(folder),
        "ls-files",
        "--error-unmatch",
        pathlib.Path(__file__).name,
    ]
    command = [
        "git",
        "-C",
        str(folder),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        subprocess.run(is_clone, capture_output=True, check=True)
        found = subprocess.run(command, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def describe_hardware(mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """What a run's steps were computed on."""
    device = mesh.devices.flat[0]
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "devices": mesh.size,
        "processes": jax.process_count(),
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
