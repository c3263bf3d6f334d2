"""The training loop: reads top to bottom, from an experiment to its summary."""

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from skdsam_jax import __version__, runtime
from skdsam_jax.data import Dataset, load_dataset
from skdsam_jax.experiment import config
from skdsam_jax.experiment.config import Experiment
from skdsam_jax.interchange import initial
from skdsam_jax.methods import find_method
from skdsam_jax.options import ConfigError
from skdsam_jax.trained import record
from skdsam_jax.trained.checkpoint_files import checkpoint_folders
from skdsam_jax.training.building import check_model
from skdsam_jax.training.checkpoint import Checkpoints
from skdsam_jax.training.interruption import Interruption
from skdsam_jax.training.processes import is_first_process
from skdsam_jax.training.run import NonFiniteError, Run
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.summary import make_summary
from skdsam_jax.training.trainer import Trainer
from skdsam_jax.training.workdir import Workdir
from skdsam_jax.training.writers import MetricWriter


def train(
    experiment: Experiment | Mapping[str, Any],
    workdir: str | os.PathLike[str],
    *,
    stop_after_epochs: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    verbose: bool = True,
    interruption: Interruption | None = None,
) -> dict[str, Any]:
    """Trains, or goes on training, the run that lives in `workdir`.

    Each epoch runs in this order: its steps, evaluation, the line in `metrics.jsonl`, a checkpoint
    if one is due. A checkpoint never covers an epoch whose line is not written.

    Called before anything used a device, it gives the numbers that the command gives. Where JAX has
    started already, flags of XLA that decide the last digits cannot be set any more; a warning
    names them, and `network.json` and `summary.json` hold those in force.

    Args:
      experiment: what to train; or a config such as `default_config` gives, as a ConfigDict or a
        nested dict.
      workdir: the run's folder; a run found there goes on where its newest checkpoint stands.
      stop_after_epochs: end early, when this many epochs of the run are finished.
      devices: what to train on; all devices of all processes if None.
      verbose: show progress.
      interruption: how the run is asked to stop; None: by SIGTERM and Ctrl-C, of which a second
        raises KeyboardInterrupt.

    Returns:
      The run's summary, as `summary.json` holds it.

    Raises:
      ConfigError: something in the experiment or the folder cannot work.
      NonFiniteError: the loss or the gradient stopped being finite; `summary.json` says so too.
      InterruptedRunError: SIGTERM or Ctrl-C came; the state is saved.
    """
    runtime.configure()
    if not isinstance(experiment, Experiment):
        experiment = config.from_config_dict(experiment)
    # Everything that can be wrong is looked at before the first file is written.
    folder = Workdir(workdir)
    experiment = _fill_in(experiment, folder)
    folder.check(experiment)
    mesh = data_mesh(devices)
    if mesh.devices.flat[0].platform == "cpu":
        runtime.warn_of_missing_flags()
    check_model(experiment.model)
    dataset = load_dataset(experiment.data, experiment.seed)
    _check(experiment, dataset, mesh)
    network = record.describe_network(dataset, experiment.data)
    folder.check_record(network)
    trainer = Trainer(experiment, dataset, mesh)
    # A run that has a checkpoint has its start behind it.
    if experiment.model.initial is not None and not checkpoint_folders(folder.checkpoints):
        trainer.start_from(initial.read(experiment.model))

    options = experiment.checkpoint
    keep_best = dataset.validation is not None
    with (
        trainer,
        folder.open(experiment),
        interruption or Interruption() as interruption,
        Checkpoints(
            folder.checkpoints, keep_latest=options.keep_latest, keep_best=keep_best
        ) as checkpoints,
    ):
        if is_first_process():
            flags = {"xla_flags": runtime.xla_flags(), "version": __version__}
            folder.write_json(record.FILE, network.to_dict() | flags)
            if trainer.start is not None:
                folder.write_json("initial.json", trainer.start.record)
        run = Run(trainer, folder, checkpoints, interruption, verbose)
        last_epoch = min(experiment.training.epochs, stop_after_epochs or sys.maxsize)
        known, first_epoch = folder.read_json("summary.json"), len(run.history)
        if first_epoch >= last_epoch and known.get("steps") == int(run.state.step):
            return known  # It says on what machine, and by which command, these steps were taken.
        if known.get("failure") and is_first_process():
            folder.write_json("summary.json", known | {"failure": None})  # It is tried again.
        try:
            with MetricWriter(folder, experiment.logging, first_epoch=first_epoch) as writer:
                for epoch in range(first_epoch, last_epoch):
                    run.take_steps(epoch)
                    line = run.measure(epoch)
                    writer.write(line)
                    run.finish_epoch(line, last=epoch + 1 == last_epoch)
        except NonFiniteError as error:
            _summarize(run, trainer, folder, first_epoch, error.failure)
            raise
        checkpoints.wait()
        return _summarize(run, trainer, folder, first_epoch)


def _summarize(
    run: Run, trainer: Trainer, folder: Workdir, first_epoch: int, failure: str | None = None
) -> dict[str, Any]:
    """Writes the summary, which a run that failed has too: it is a result."""
    start = folder.read_json("initial.json") or None
    summary = make_summary(trainer, run.state, run.history, start, first_epoch, failure)
    if is_first_process():
        folder.write_json("summary.json", summary)
    return summary


def _fill_in(experiment: Experiment, folder: Workdir) -> Experiment:
    """The experiment with what is left to the run: as it began there, or as a new one begins."""
    begun = folder.begun_with("model")
    method = find_method(experiment.method.name).resolve(experiment.method)
    model = initial.resolve(experiment.model, begun)
    form = model.convolution or begun.get("convolution") or model.form_of_convolution
    model = dataclasses.replace(model, convolution=form)
    return dataclasses.replace(experiment, method=method, model=model)


def _check(experiment: Experiment, dataset: Dataset, mesh: jax.sharding.Mesh) -> None:
    """Raises a ConfigError for what only data and devices together can tell."""
    batch, examples = experiment.training.batch_size, len(dataset.train)
    if batch > examples:
        raise ConfigError(
            f"config.training.batch_size: {batch} is more than the {examples} training images "
            f"of {dataset.name}"
        )
    for name, size in (
        ("config.training.batch_size", batch),
        ("config.evaluation.batch_size", experiment.evaluation.batch_size),
    ):
        if size % mesh.size:
            raise ConfigError(f"{name}: {size} cannot be divided among {mesh.size} devices")
