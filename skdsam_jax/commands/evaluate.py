"""Measures a finished run: every exit, what leaving early saves, calibration, corruptions.

    skdsam evaluate runs/byot --split test

Writes `evaluation.json` and, with the extra `plots`, pictures. docs/evaluation.md has the measures.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from skdsam_jax.commands import command_line
from skdsam_jax.commands.evaluation_data import Source, find_source
from skdsam_jax.commands.evaluation_output import FILE, describe, write_json
from skdsam_jax.evaluation.any_exit import AnyExit
from skdsam_jax.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from skdsam_jax.evaluation.evaluator import Evaluator, as_evaluated
from skdsam_jax.evaluation.mistakes import worst_mistakes, write_thumbnails
from skdsam_jax.evaluation.report import (
    TIMED_BATCHES,
    describe_any_exit,
    describe_predictions,
    fit_temperatures,
    measure_speed,
)
from skdsam_jax.installation import install_command
from skdsam_jax.options import ConfigError, known
from skdsam_jax.report import drawing, evaluation_pictures
from skdsam_jax.report.drawing import write_picture
from skdsam_jax.trained import Trained, load
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.summary import describe_origin


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="skdsam evaluate", description=__doc__.partition("\n")[0])
    parser.add_argument("workdir", type=pathlib.Path, help="the run's folder")
    command_line.add_which(parser)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--data", metavar="NAME", help="another set of the same classes")
    chosen.add_argument(
        "--folder",
        type=pathlib.Path,
        metavar="DIR",
        help="pictures in class folders, DIR/CLASS/* or DIR/SPLIT/CLASS/*",
    )
    parser.add_argument("--data_dir", help="where the data is, if not where the run found it")
    parser.add_argument("--split", choices=("test", "validation", "train"), default="test")
    parser.add_argument("--out", type=pathlib.Path, help="default: WORKDIR/evaluation")
    parser.add_argument(
        "--batch_size", type=int, default=128, help="for speed and leaving early; default 128"
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="how long each speed is measured; default 5"
    )
    parser.add_argument(
        "--corruptions",
        default="none",
        help=f"none (default), all, or some of {','.join(CORRUPTIONS)}; each at five severities",
    )
    options = parser.parse_args(arguments)
    return command_line.run(lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> None:
    corruptions = _find_corruptions(options.corruptions)
    if options.batch_size < 1:
        raise ConfigError(f"--batch_size: takes at least 1, not {options.batch_size}")
    trained = as_evaluated(load(options.workdir, options.which))
    source = find_source(trained, options)
    result = evaluate(
        trained,
        source,
        batch_size=options.batch_size,
        seconds=options.seconds,
        corruptions=corruptions,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    out = options.out or options.workdir / "evaluation"
    write_json(out, result | describe_origin(data_mesh(jax.devices()[:1])))
    write_thumbnails(result["worst_mistakes"], source.examples, out)
    print(describe(result))
    print(f"{out / FILE}: everything, with what it was measured on")
    if drawing.available():
        pictures = evaluation_pictures.draw(result, out)
        print(", ".join(str(write_picture(out, picture)) for picture in pictures))
    else:
        print(f"no pictures without matplotlib; for them: {install_command('plots')}")


def evaluate(
    trained: Trained,
    source: Source,
    *,
    batch_size: int,
    seconds: float,
    corruptions: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """All measures of a network on a set.

    Args:
      trained: see `as_evaluated`.
      source: the set, and the run's validation split.
      batch_size: of the network that leaves early, and of what is timed.
      seconds: how long the speed of the exits is measured, and that of leaving early.
      corruptions: names of `CORRUPTIONS`.
      say: told what is about to be done.

    Returns:
      Plain values; docs/evaluation.md says which.
    """
    evaluator = Evaluator(trained, trained.config["evaluation"]["batch_size"])
    say(f"classifying {len(source.examples):,} images of {source.name}, split {source.split}")
    predictions = evaluator(source.examples)
    validation = None
    if source.validation is not None:
        say(f"fitting temperatures and thresholds on {len(source.validation):,} others")
        validation = evaluator(source.validation)
    temperatures = None if validation is None else fit_temperatures(validation)
    network = AnyExit(trained, batch_size, temperatures=temperatures)
    any_exit = describe_any_exit(
        network, predictions, validation, temperatures, why_not=source.why_no_validation
    )
    points = any_exit["operating_points"]
    say("measuring the speed of every exit")
    images = source.examples.sample(TIMED_BATCHES * batch_size)
    speed, ratios = measure_speed(network, images, points, batch_size=batch_size, seconds=seconds)
    for point, ratio in zip(points, ratios, strict=True):
        point["speed_relative_to_deepest_exit"] = ratio
    result = {
        "method": trained.config["method"]["name"],
        "model": trained.config["model"]["name"],
        "step": trained.step,
        "params_digest": trained.params_digest,
        "dataset": source.name,
        "split": source.split,
        **describe_predictions(predictions, trained.class_names, temperatures),
        "worst_mistakes": worst_mistakes(
            predictions.exits[-1], source.examples, trained.class_names
        ),
        "any_exit": any_exit,
        "speed": speed,
        "config": trained.config,
    }
    for described, cost in zip(result["exits"], network.costs, strict=True):
        described |= cost._asdict()
    if corruptions:
        result["corruptions"] = _measure_corruptions(evaluator, source, corruptions, say)
    return result


def _measure_corruptions(
    evaluator: Evaluator, source: Source, names: Sequence[str], say: Callable[[str], None]
) -> dict[str, Any]:
    """The accuracy [severity][exit] under each corruption, and means over both."""
    accuracies = {}
    for name in names:
        say(f"classifying under {name}, at five severities")
        accuracies[name] = []
        for severity in SEVERITIES:
            changed = source.examples.changed(
                lambda image, index, name=name, severity=severity: corrupt(
                    image, name, severity, seed=index
                )
            )
            made = evaluator(changed)
            correct = made.exits.argmax(axis=-1) == made.labels
            accuracies[name].append(correct.mean(axis=-1).tolist())
    means = {name: np.mean(values, axis=0).tolist() for name, values in accuracies.items()}
    return {
        "accuracies": accuracies,
        "mean_accuracies": means,
        "mean_accuracy": np.mean(list(means.values()), axis=0).tolist(),
    }


def _find_corruptions(asked: str) -> list[str]:
    if asked in ("all", "none"):
        return list(CORRUPTIONS) if asked == "all" else []
    names = asked.split(",")
    for name in names:
        if name not in CORRUPTIONS:
            raise ConfigError(f"--corruptions: unknown {name!r}; {known(name, CORRUPTIONS)}")
    return names
