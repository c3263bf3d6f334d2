"""The training loop: reads top to bottom, from an experiment to its summary."""

import dataclasses
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from skdsam_jax import __version__, runtime
from skdsam_jax.data import Dataset, load_dataset
from skdsam_jax.evaluation.metrics import summarize_training
from skdsam_jax.experiment import config
from skdsam_jax.experiment.config import Experiment
from skdsam_jax.methods import find_method
from skdsam_jax.options import ConfigError
from skdsam_jax.trained import record
from skdsam_jax.training.building import check_model
from skdsam_jax.training.checkpoint import Checkpoints
from skdsam_jax.training.interruption import InterruptedRunError, Interruption
from skdsam_jax.training.processes import any_process, is_first_process
from skdsam_jax.training.progress import Progress
from skdsam_jax.training.state import data_mesh, learning_rate_schedule
from skdsam_jax.training.step import EpochSums
from skdsam_jax.training.summary import describe_versions, make_summary
from skdsam_jax.training.trainer import Trainer
from skdsam_jax.training.workdir import Workdir
from skdsam_jax.training.writers import MetricWriter


class NonFiniteError(RuntimeError):
    """Loss or gradient stopped being finite; the message says where it began."""


def train(
    experiment: Experiment | Mapping[str, Any],
    workdir: str | os.PathLike[str],
    *,
    stop_after_epochs: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    verbose: bool = True,
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

    Returns:
      The run's summary, as `summary.json` holds it.

    Raises:
      ConfigError: something in the experiment or the folder cannot work.
      NonFiniteError: the loss or the gradient stopped being finite.
      InterruptedRunError: SIGTERM or Ctrl-C came; the state is saved.
    """
    runtime.configure()
    if not isinstance(experiment, Experiment):
        experiment = config.from_config_dict(experiment)
    # Everything that can be wrong is looked at before the first file is written.
    method = find_method(experiment.method.name)
    experiment = dataclasses.replace(experiment, method=method.resolve(experiment.method))
    folder = Workdir(workdir)
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

    options = experiment.checkpoint
    keep_best = dataset.validation is not None
    with (
        trainer,
        folder.open(experiment),
        Interruption() as interruption,
        Checkpoints(
            folder.checkpoints, keep_latest=options.keep_latest, keep_best=keep_best
        ) as checkpoints,
    ):
        if is_first_process():
            flags = {"xla_flags": runtime.xla_flags(), "version": __version__}
            folder.write_json(record.FILE, network.to_dict() | flags)
        run = _Run(trainer, folder, checkpoints, interruption, verbose)
        last_epoch = min(experiment.training.epochs, stop_after_epochs or sys.maxsize)
        with MetricWriter(folder, experiment.logging, first_epoch=len(run.history)) as writer:
            for epoch in range(len(run.history), last_epoch):
                run.take_steps(epoch)
                line = run.measure(epoch)
                writer.write(line)
                run.finish_epoch(line, last=epoch + 1 == last_epoch)
        checkpoints.wait()
        summary = make_summary(trainer, run.state, run.history)
        if is_first_process():
            folder.write_json("summary.json", summary)
        return summary


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


class _Run:
    """Where a run stands: its state, and the record of its finished epochs."""

    def __init__(
        self,
        trainer: Trainer,
        folder: Workdir,
        checkpoints: Checkpoints,
        interruption: Interruption,
        verbose: bool,
    ) -> None:
        """Begins the run, or takes it up where its newest intact checkpoint stands."""
        self._trainer = trainer
        self._folder = folder
        self._checkpoints = checkpoints
        self._interruption = interruption
        self._options = options = trainer.experiment.training
        self._schedule = learning_rate_schedule(options, trainer.steps_per_epoch)
        self._metadata = {
            "config": config.to_dict(trainer.experiment),
            "versions": describe_versions(),
        }
        restored = checkpoints.restore(*trainer.abstract)
        if restored is None:
            self.state, self._sums = trainer.initial()
        else:
            self.state, self._sums = restored.state, restored.sums
        self._step = int(self.state.step)
        self.history = folder.read_history(self._step // trainer.steps_per_epoch)
        self._saved_at = time.monotonic()
        self._clock = _Clock()
        self._progress = Progress(
            options.epochs * trainer.steps_per_epoch,
            options.batch_size,
            enabled=verbose and is_first_process(),
        )
        self._progress.say(_greeting(trainer, self._step))

    def take_steps(self, epoch: int) -> None:
        """The steps of `epoch` that are not behind the run.

        Raises:
          NonFiniteError: a step was not finite, and the run is to stop then.
          InterruptedRunError: the run was asked to stop; its state is saved.
        """
        trainer, steps = self._trainer, self._trainer.steps_per_epoch
        end = (epoch + 1) * steps
        done = self._step - epoch * steps
        inputs = trainer.inputs(epoch, done)
        self._progress.start_epoch(epoch, self._options.epochs, steps, done)
        self._clock.start_epoch()
        while self._step < end:
            count = min(trainer.steps_per_dispatch, end - self._step)
            self.state, self._sums, last = trainer.dispatch(
                self.state, self._sums, next(inputs), count
            )
            skipped, last = jax.device_get((self._sums.skipped, last))
            self._step += count
            seconds = self._clock.tick(count)
            if skipped and self._options.on_nonfinite == "stop":
                self._progress.finish_epoch()
                raise NonFiniteError(_describe_fault(self._sums, self._folder))
            loss, accuracy = last["loss"] / last["count"], last["correct"][-1] / last["count"]
            self._progress.update(self._step, count, seconds, float(loss), float(accuracy))
            if any_process(self._interruption.requested):
                self._save()
                self._progress.finish_epoch()
                self._checkpoints.wait()
                raise InterruptedRunError(f"stopped at step {self._step}; the same command goes on")
            if self._step < end and self._save_is_due():
                self._save()
                self._clock.restart()
        self._progress.finish_epoch()

    def measure(self, epoch: int) -> dict[str, Any]:
        """The line of `metrics.jsonl` of an epoch whose steps are done."""
        trainer, evaluation = self._trainer, self._trainer.experiment.evaluation
        line = {
            "epoch": epoch,
            "step": self._step,
            "learning_rate": float(self._schedule(self._step - 1)),
            "images_per_second": self._clock.rate(self._options.batch_size),
            "skipped_steps": int(self._sums.skipped),
            "parameter_norm": trainer.parameter_norm(self.state),
            "train": summarize_training(jax.device_get(self._sums.training)),
        }
        if (epoch + 1) % evaluation.every_epochs == 0 or epoch + 1 == self._options.epochs:
            line |= {name: trainer.evaluate(self.state, name) for name in trainer.evaluated}
        return line

    def finish_epoch(self, line: dict[str, Any], *, last: bool) -> None:
        """Closes an epoch whose line is written, with a checkpoint if one is due."""
        self.history.append(line)
        self._progress.say(_describe_epoch(line, self._options.epochs))
        self._sums = self._trainer.empty_sums()
        score = line.get("validation", {}).get("accuracy")
        improved = score is not None and score >= _best(self.history)
        if last or improved or self._save_is_due():
            self._save(score)

    def _save(self, score: float | None = None) -> None:
        self._checkpoints.save(self.state, self._sums, self._metadata, score=score)
        self._saved_at = time.monotonic()

    def _save_is_due(self) -> bool:
        waited = time.monotonic() - self._saved_at
        return any_process(waited >= 60 * self._trainer.experiment.checkpoint.every_minutes)


class _Clock:
    """Times the steps of an epoch; a process' first dispatch, which compiles, does not count."""

    def __init__(self) -> None:
        self._warm = False
        self.start_epoch()

    def start_epoch(self) -> None:
        self._steps, self._seconds = 0, 0.0
        self.restart()

    def restart(self) -> None:
        """What happened since the last tick was not training."""
        self._last = time.perf_counter()

    def tick(self, steps: int) -> float | None:
        """Seconds since the last tick, in which `steps` steps were taken; None if they compiled."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        if not self._warm:
            self._warm = True
            return None
        self._steps += steps
        self._seconds += seconds
        return seconds

    def rate(self, batch_size: int) -> float | None:
        """Images per second in this epoch; None if nothing was timed."""
        return self._steps * batch_size / self._seconds if self._steps else None


def _best(history: Sequence[dict[str, Any]]) -> float:
    """The highest validation accuracy so far."""
    return max(line["validation"]["accuracy"] for line in history if "validation" in line)


def _greeting(trainer: Trainer, step: int) -> str:
    experiment, dataset = trainer.experiment, trainer.dataset
    sizes = f"{len(dataset.train)} training and {len(dataset.test)} test images"
    where = f"{trainer.mesh.size} {trainer.mesh.devices.flat[0].device_kind} device(s)"
    start = f", resuming at step {step}" if step else ""
    batch, images = experiment.training.batch_size, trainer.images_per_step
    views = "" if images == batch else f" ({images // batch} for each of {batch})"
    model = experiment.model
    width = "" if model.width is None else f" width {model.width}"
    return (
        f"{experiment.method.name}, {model.name}{width}, "
        f"{dataset.name} ({sizes}), {trainer.parameter_count:,} parameters, "
        f"{images} images a step{views}, on {where}{start}"
    )


def _describe_epoch(line: dict[str, Any], epochs: int) -> str:
    """One line of text for one finished epoch."""
    train = line["train"]
    text = f"epoch {line['epoch'] + 1}/{epochs}: loss {train['loss']:.4f}"
    text += f", train {train['accuracy'][-1]:.4f}"
    for name in ("validation", "test"):
        if name in line:
            measures = line[name]
            exits = " ".join(f"{value:.4f}" for value in measures["exit_accuracies"])
            text += f", {name} exits {exits}"
            if len(measures["exit_accuracies"]) > 1:
                text += f" ensemble {measures['ensemble_accuracy']:.4f}"
            for other in measures["others"]:
                text += f" {other} {measures[f'{other}_accuracy']:.4f}"
    if line["images_per_second"]:
        text += f", {line['images_per_second']:.0f} images/s"
    if line["skipped_steps"]:
        text += f", {line['skipped_steps']} steps skipped"
    return text


def _describe_fault(sums: EpochSums, folder: Workdir) -> str:
    """Where the numbers went wrong, and what they were."""
    fault = summarize_training(jax.device_get(sums.skipped_sums))
    fault.pop("accuracy")
    numbers = ", ".join(f"{name} {value}" for name, value in fault.items())
    return (
        f"step {int(sums.first_skipped)} was not finite ({numbers}); the run stopped, "
        f"its last good checkpoint is in {folder.checkpoints}"
    )
