"""The folder a run lives in: its lock, its config, its metrics and its summary."""

import fcntl
import json
import logging
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

from skdsam_jax import older_runs
from skdsam_jax.experiment.config import Experiment, differences, from_config_dict, to_dict
from skdsam_jax.options import ConfigError
from skdsam_jax.trained.record import NetworkRecord, read_record
from skdsam_jax.training.processes import any_process, is_first_process, wait_for_all

_log = logging.getLogger(__name__)

# What a run may leave before its config.json.
_OWN = ("lock",)

_OTHER_EPOCHS = (
    "the learning rate falls at shares of all epochs, so a run of more epochs begins anew, in "
    "another workdir"
)


class Workdir:
    """One run's folder, held by one process at a time; a context manager.

    Files: `config.json`, `network.json` (what the network takes and what its classes are called),
    `initial.json` (what it started from, if that was not random), `metrics.jsonl` (one line per
    finished epoch), `summary.json`, `checkpoints/` and TensorBoard's events.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path).absolute()
        self._lock: int | None = None

    @property
    def checkpoints(self) -> pathlib.Path:
        """The folder of the run's checkpoints."""
        return self.path / "checkpoints"

    def read_json(self, name: str) -> dict[str, Any]:
        """What the file `name` holds; nothing where there is none, or none that can be read."""
        try:
            return dict(json.loads((self.path / name).read_text()))
        except (OSError, ValueError, TypeError):
            return {}

    def begun_with(self, section: str) -> Mapping[str, Any]:
        """A section of the config of the run in the folder; empty where none began."""
        config = self.read_json("config.json")
        values = older_runs.complete(config).get(section) if config else None
        return values if isinstance(values, Mapping) else {}

    def check(self, experiment: Experiment) -> None:
        """Says early, and without writing anything, why the run could not live here.

        Raises:
          ConfigError: the folder cannot be written, or holds a run of another config.
        """
        existing = self.path
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            raise ConfigError(f"workdir {self.path}: {existing} is not a folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise ConfigError(f"workdir {self.path}: {existing} cannot be written")
        config = self.path / "config.json"
        if not config.exists():
            if self.checkpoints.exists():
                raise ConfigError(f"workdir {self.path}: has checkpoints but no config.json")
            return
        try:
            values = older_runs.complete(json.loads(config.read_text()))
        except (ValueError, TypeError):
            raise ConfigError(f"workdir {self.path}: its config.json is damaged") from None
        before = to_dict(from_config_dict(values))
        changed = differences(before, to_dict(experiment))
        if changed:
            epochs = any(change.startswith("config.training.epochs:") for change in changed)
            raise ConfigError(
                f"workdir {self.path} holds a run of another config: {'; '.join(changed)}; "
                + (_OTHER_EPOCHS if epochs else "take another workdir")
            )

    def open(self, experiment: Experiment) -> "Workdir":
        """Creates the folder, locks it and writes the config.

        Of several processes of one run the first does so, for all of them.

        Raises:
          ConfigError: as `check`, or another run holds the folder.
        """
        self.check(experiment)
        error = None
        if is_first_process():
            try:
                self._take(experiment)
            except ConfigError as refusal:
                error = refusal
        if any_process(error is not None):
            raise error or ConfigError(f"workdir {self.path}: the first process cannot use it")
        return self

    def _take(self, experiment: Experiment) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"workdir {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise ConfigError(f"workdir {self.path}: another process trains here") from None
        self.check(experiment)
        if foreign := self._foreign():
            _log.warning(
                "workdir %s: holds other files too (%s), which stay as they are",
                self.path,
                ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if foreign[3:] else ""),
            )
        self.write_json("config.json", to_dict(experiment))

    def _foreign(self) -> list[str]:
        """What is in a folder where no run has begun, and is none of a run's."""
        if (self.path / "config.json").exists():
            return []
        return sorted(path.name for path in self.path.iterdir() if path.name not in _OWN)

    def check_record(self, record: NetworkRecord) -> None:
        """Raises a ConfigError if the run in the folder was trained on other classes or images."""
        before = read_record(self.path)
        for name in ("class_names", "image_shape"):
            if before is not None and getattr(before, name) != getattr(record, name):
                raise ConfigError(
                    f"workdir {self.path}: the data is not what the run was trained on, another "
                    f"{name} than in its network.json"
                )

    def close(self) -> None:
        """Gives the folder up; the lock also dies with the process."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Workdir":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Replaces the file `name` as a whole: readers see the old text or the new."""
        self._replace(name, json.dumps(value, indent=2) + "\n")

    def read_history(self, epochs: int) -> list[dict[str, Any]]:
        """The metrics of the first `epochs` epochs; later or unfinished lines are dropped.

        A run that was killed may have written lines that its newest checkpoint does not cover:
        those epochs are run again, and their lines are written again.

        Raises:
          ConfigError: the line of an epoch that the checkpoint covers is missing or damaged.
        """
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        history = []
        for epoch, line in enumerate(lines[:epochs]):
            try:
                history.append(json.loads(line))
            except ValueError:
                raise ConfigError(f"{file}: line {epoch + 1} is damaged") from None
        if len(history) < epochs:
            raise ConfigError(f"{file}: has {len(history)} of the checkpoint's {epochs} epochs")
        wait_for_all("history")  # Nobody reads a file that another replaces.
        if is_first_process():
            self._replace("metrics.jsonl", "".join(line + "\n" for line in lines[:epochs]))
        return history

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Adds one epoch to `metrics.jsonl`, on the disk when this returns."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _replace(self, name: str, text: str) -> None:
        with tempfile.NamedTemporaryFile(
            "w", dir=self.path, prefix=f".{name}.", delete=False
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        pathlib.Path(file.name).chmod(0o644)
        pathlib.Path(file.name).replace(self.path / name)
