"""One run as the loop sees it: its state, its record, and what is done in each epoch."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import jax

from skdsam_jax.evaluation.metrics import summarize_training
from skdsam_jax.experiment import config
from skdsam_jax.training import messages
from skdsam_jax.training.checkpoint import CheckpointError, Checkpoints
from skdsam_jax.training.clock import Clock
from skdsam_jax.training.interruption import InterruptedRunError, Interruption
from skdsam_jax.training.optimizer import learning_rate_schedule
from skdsam_jax.training.processes import any_process, is_first_process
from skdsam_jax.training.progress import Progress
from skdsam_jax.training.summary import describe_versions
from skdsam_jax.training.trainer import Trainer
from skdsam_jax.training.workdir import Workdir


class NonFiniteError(RuntimeError):
    """Loss or gradient stopped being finite; the message says where it began.

    Attributes:
      failure: the same in a few words, for the run's summary.
    """

    def __init__(self, message: str, failure: str) -> None:
        """What to tell the user, and what to keep."""
        super().__init__(message)
        self.failure = failure


class Run:
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
        self._clock = Clock()
        self._progress = Progress(
            options.epochs * trainer.steps_per_epoch,
            options.batch_size,
            enabled=verbose and is_first_process(),
        )
        interruption.when_requested(lambda: self._progress.say(messages.STOPPING))
        restored = checkpoints.restore(*trainer.abstract)
        self._step = 0 if restored is None else int(restored.state.step)
        self.history = folder.read_history(self._step // trainer.steps_per_epoch)
        self._progress.say(messages.greeting(trainer, self._step))
        self._compiles = False
        if restored is None:
            if trainer.start is not None:
                self._progress.say(str(trainer.start))
            self._say_that_it_compiles()
            trainer.compile(min(trainer.steps_per_dispatch, trainer.steps_per_epoch))
            self.state, self._sums = trainer.initial()
        else:
            self.state, self._sums = restored.state, restored.sums
        self._saved_at = time.monotonic()

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
        self._say_that_it_compiles()
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
                raise NonFiniteError(self._describe_fault(), messages.name_fault(self._sums))
            loss, accuracy = last["loss"] / last["count"], last["correct"][-1] / last["count"]
            self._progress.update(self._step, count, seconds, float(loss), float(accuracy))
            if self._step == end:
                break  # What is saved from here on must have the epoch's line.
            if any_process(self._interruption.requested):
                self._progress.finish_epoch()
                self._stop()
            if self._save_is_due():
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
            for name in trainer.evaluated:
                with self._progress.evaluation(name) as advance:
                    line[name] = trainer.evaluate(self.state, name, advance)
        return line

    def finish_epoch(self, line: dict[str, Any], *, last: bool) -> None:
        """Closes an epoch whose line is written, with a checkpoint if one is due.

        Raises:
          InterruptedRunError: the run was asked to stop before its last epoch; its state is saved.
        """
        self.history.append(line)
        self._progress.say(messages.describe_epoch(line, self._options.epochs))
        self._sums = self._trainer.empty_sums()
        score = line.get("validation", {}).get("accuracy")
        improved = score is not None and score >= _best(self.history)
        if not last and any_process(self._interruption.requested):
            self._stop(score)
        if last or improved or self._save_is_due():
            self._save(score)

    def _stop(self, score: float | None = None) -> NoReturn:
        self._progress.say(f"saving the state after step {self._step}")
        self._save(score)
        self._checkpoints.wait()
        raise InterruptedRunError(f"stopped at step {self._step}; the same command goes on")

    def _say_that_it_compiles(self) -> None:
        """Once: until the first step nothing else will be heard."""
        if not self._compiles:
            self._compiles = True
            self._progress.say(messages.COMPILING)

    def _save(self, score: float | None = None) -> None:
        self._checkpoints.save(self.state, self._sums, self._metadata, score=score)
        self._saved_at = time.monotonic()

    def _save_is_due(self) -> bool:
        waited = time.monotonic() - self._saved_at
        return any_process(waited >= 60 * self._trainer.experiment.checkpoint.every_minutes)

    def _describe_fault(self) -> str:
        with contextlib.suppress(CheckpointError):  # It was reported.
            self._checkpoints.wait()
        return messages.describe_fault(self._sums, self._folder.checkpoints, self._options)


def _best(history: Sequence[dict[str, Any]]) -> float:
    """The highest validation accuracy so far."""
    return max(line["validation"]["accuracy"] for line in history if "validation" in line)
