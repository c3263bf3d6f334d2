"""What a run says, in words."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from skdsam_jax.evaluation.metrics import summarize_training
from skdsam_jax.experiment.run_options import TrainingOptions
from skdsam_jax.trained.checkpoint_files import checkpoint_folders
from skdsam_jax.training.step import EpochSums
from skdsam_jax.training.trainer import Trainer

COMPILING = "compiling; until the first step is taken this can take minutes, less the next time"
STOPPING = (
    "asked to stop: what is being computed is finished, then saved; a second Ctrl-C ends at once, "
    "without saving"
)


def greeting(trainer: Trainer, step: int) -> str:
    """What is trained, on what, and from where on."""
    experiment, dataset = trainer.experiment, trainer.dataset
    sizes = f"{len(dataset.train)} training and {len(dataset.test)} test images"
    where = f"{trainer.mesh.size} {trainer.mesh.devices.flat[0].device_kind} device(s)"
    start = f", resuming at step {step}" if step else ""
    if step >= experiment.training.epochs * trainer.steps_per_epoch:
        start = (
            f", finished at step {step}: nothing is left to train. More epochs are a run of their "
            "own, in another workdir"
        )
    batch, images = experiment.training.batch_size, trainer.images_per_step
    views = "" if images == batch else f" ({images // batch} for each of {batch})"
    model = experiment.model
    width = "" if model.width is None else f" width {model.width}"
    return (
        f"{experiment.method.name}, {model.name}{width}, "
        f"{dataset.name} ({sizes}), {trainer.parameter_count:,} parameters, "
        f"{images} images a step{views}, on {where}{start}"
    )


def describe_epoch(line: Mapping[str, Any], epochs: int) -> str:
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


def name_fault(sums: EpochSums) -> str:
    """Where the numbers went wrong; the step is counted from 0."""
    return f"step {int(sums.first_skipped)} was not finite"


def describe_fault(sums: EpochSums, checkpoints: pathlib.Path, options: TrainingOptions) -> str:
    """Where the numbers went wrong, what they were, what is left and what may help."""
    fault = summarize_training(jax.device_get(sums.skipped_sums))
    fault.pop("accuracy")
    numbers = ", ".join(f"{name} {value}" for name, value in fault.items())
    saved = checkpoint_folders(checkpoints)
    kept = f"its last good checkpoint is {saved[0]}" if saved else "no checkpoint was saved yet"
    half = options.compute_dtype == "bfloat16"
    precision = ", or config.training.compute_dtype=float32" if half else ""
    return (
        f"{name_fault(sums)} ({numbers}); the run stopped, {kept}. In a new workdir try a "
        f"config.training.learning_rate below {options.learning_rate:g}{precision}; "
        "config.training.on_nonfinite=skip leaves out single steps"
    )


def describe_result(summary: Mapping[str, Any], workdir: pathlib.Path) -> str:
    """What a run reached, and on a last line where to find it."""
    accuracy = summary["test_accuracy"]
    if accuracy is None:
        reached = f"{summary['epochs']} epochs, not evaluated yet"
    else:
        exits = " ".join(f"{value:.4f}" for value in summary["exit_accuracies"])
        others = summary["other_accuracies"].items()
        average = " of the averaged weights" if summary.get("weights") == "averaged" else ""
        reached = (
            f"test accuracy{average} {accuracy:.4f} after {summary['epochs']} epochs; "
            f"exits {exits}, ensemble {summary['ensemble_accuracy']:.4f}"
            + "".join(f", {name} {value:.4f}" for name, value in others)
            + "; best epoch by looking at the test set (an oracle) "
            f"{summary['best_test_accuracy']:.4f}"
        )
    curves = ""
    if summary["config"]["logging"]["tensorboard"]:
        curves = f"; curves: tensorboard --logdir {workdir}"
    return f"{reached}\nresults are in {workdir / 'summary.json'}{curves}"
