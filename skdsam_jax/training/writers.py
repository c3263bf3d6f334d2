"""Where an epoch's metrics go: `metrics.jsonl` always, TensorBoard's events by choice."""

from collections.abc import Iterator, Mapping
from typing import Any

from skdsam_jax.experiment.run_options import LoggingOptions
from skdsam_jax.training.processes import is_first_process
from skdsam_jax.training.workdir import Workdir


class MetricWriter:
    """Writes one line per epoch, from the first process only; a context manager."""

    def __init__(self, folder: Workdir, options: LoggingOptions, *, first_epoch: int) -> None:
        """Args: first_epoch: TensorBoard forgets what an earlier process wrote from there on."""
        self._folder = folder
        self._wanted = is_first_process() and options.tensorboard
        self._first_epoch = first_epoch
        self._events = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Adds the metrics of `line["epoch"]`."""
        if not is_first_process():
            return
        self._folder.append_metrics(line)
        if self._wanted:
            if self._events is None:
                # Not before: with PyTorch installed it takes as long to import as all the rest,
                # and the first step would wait for it.
                from tensorboardX import SummaryWriter

                self._events = SummaryWriter(str(self._folder.path), purge_step=self._first_epoch)
            for name, value in _scalars(line):
                self._events.add_scalar(name, value, line["epoch"])
            self._events.flush()

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()


def _scalars(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested mappings and lists, each with its path; list items count from 1."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, list):
            yield from _scalars(
                {str(i): item for i, item in enumerate(value, 1)}, f"{prefix}{name}/"
            )
        elif isinstance(value, int | float) and f"{prefix}{name}" not in ("epoch", "step"):
            yield f"{prefix}{name}", value
