"""All that is measured of a trained network on one set, as plain values."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from skdsam_jax.evaluation.any_exit import AnyExit
from skdsam_jax.evaluation.calibration import fit_temperature, scaled
from skdsam_jax.evaluation.evaluator import Predictions
from skdsam_jax.evaluation.scores import (
    class_accuracies,
    confusion_matrix,
    reliability,
    score,
)
from skdsam_jax.evaluation.speed import median_seconds
from skdsam_jax.evaluation.thresholds import (
    answers_of,
    candidate_thresholds,
    choose_threshold,
    measure_threshold,
)

# Batches on which leaving early is timed: so many that the last ones, which are filled up with
# padding, do not count.
TIMED_BATCHES = 32

# Shares of the deepest exit's FLOPs for which a threshold is chosen.
BUDGETS = (0.75, 0.5)

NOT_FITTED = (
    "no threshold is chosen and no temperature fitted: that takes a validation split, which the "
    "run does not have (config.data.validation_fraction); the test set is not for choosing"
)


def fit_temperatures(validation: Predictions) -> list[float]:
    """The temperature of each exit, fitted on the validation split; see `fit_temperature`."""
    return [fit_temperature(logits, validation.labels) for logits in validation.exits]


def describe_predictions(
    predictions: Predictions, class_names: Sequence[str], temperatures: Sequence[float] | None
) -> dict[str, Any]:
    """The measures of every exit, of the ensemble and of what else predicts.

    Args:
      predictions: of the set that is reported on.
      class_names: in the order of the labels.
      temperatures: of each exit, from `fit_temperatures`; None: there are none.

    Returns:
      `exits`: for each its number from 1, the measures of `scores.score`, its `temperature` and
      the measures `calibrated` with it (None without), and the sums of `scores.reliability`;
      `ensemble` and `others`: measures; of the deepest exit `confusion_matrix`, a row for each
      true class; and `class_accuracies`: name to the accuracy of each exit.
    """
    labels = predictions.labels
    exits = []
    for number, logits in enumerate(predictions.exits):
        temperature = None if temperatures is None else temperatures[number]
        calibrated = None if temperature is None else score(scaled(logits, temperature), labels)
        bins = {name: sums.tolist() for name, sums in reliability(logits, labels).items()}
        exits.append(
            {
                "exit": number + 1,
                **score(logits, labels),
                "temperature": temperature,
                "calibrated": calibrated,
                "reliability": bins,
            }
        )
    matrices = [confusion_matrix(logits, labels) for logits in predictions.exits]
    accuracies = zip(*map(class_accuracies, matrices), strict=True)
    return {
        "examples": len(labels),
        "exits": exits,
        "ensemble": score(predictions.ensemble, labels),
        "others": {name: score(other, labels) for name, other in predictions.others.items()},
        "class_accuracies": dict(zip(class_names, map(list, accuracies), strict=True)),
        "confusion_matrix": matrices[-1].tolist(),
    }


def describe_any_exit(
    network: AnyExit,
    predictions: Predictions,
    validation: Predictions | None,
    temperatures: Sequence[float] | None,
    why_not: str = NOT_FITTED,
) -> dict[str, Any]:
    """Accuracy against cost, when images leave early.

    With a validation split confidences are those of calibrated probabilities, and thresholds are
    chosen on it: that which costs least without being less accurate than the deepest exit, and the
    most accurate ones within `BUDGETS`. Without, the curve alone is reported, and nothing is
    chosen from it.

    Args:
      network: what it costs.
      predictions: of the set that is reported on.
      validation: of the validation split; None: there is none.
      temperatures: from `fit_temperatures`, where there is one.
      why_not: what is said where there is none.

    Returns:
      `fitted_on`, and where that is None `why_not`; `flops_through`, see `ExitCost`; `curve`,
      points of `measure_threshold`; and `operating_points`: for each its `goal`, and what it
      reaches on `validation` and on the set itself (`measured`).
    """
    flops = [cost.flops_through for cost in network.costs]
    answers = answers_of(_calibrated(predictions, temperatures), predictions.labels)
    described = {"fitted_on": None, "why_not": why_not, "flops_through": flops}
    chosen_from, points = answers, []
    if validation is not None:
        chosen_from = answers_of(_calibrated(validation, temperatures), validation.labels)
        described |= {"fitted_on": "validation", "why_not": None}
        deepest = network.costs[-1].flops
        goals: dict[str, float | None] = {"as accurate as the deepest exit": None}
        goals |= {f"{share:.0%} of its FLOPs": share * deepest for share in BUDGETS}
        for goal, budget in goals.items():
            best = choose_threshold(chosen_from, flops, budget)
            if best is not None and len(network) > 1:
                measured = measure_threshold(answers, flops, best["threshold"])
                points.append({"goal": goal, "validation": best, "measured": measured})
    thresholds = candidate_thresholds(chosen_from)
    curve = [measure_threshold(answers, flops, threshold) for threshold in thresholds]
    return described | {"curve": curve, "operating_points": points}


def measure_speed(
    network: AnyExit,
    images: np.ndarray,
    points: Sequence[Mapping[str, Any]],
    *,
    batch_size: int,
    seconds: float,
) -> tuple[dict[str, Any], list[float]]:
    """Images per second up to each exit, and at each operating point; compilation is left out.

    Args:
      network: what computes.
      images: uint8 [images, height, width, channels], such as the set's own, evenly spaced; they
        are repeated until they fill `TIMED_BATCHES`.
      points: operating points of `describe_any_exit`.
      batch_size: of `network`.
      seconds: how long to measure each of both.

    Returns:
      `batch_size`, `images_per_second` and `relative` [C], to the deepest exit's; and of each
      point how many times as fast it is as the deepest exit on the same images.
    """
    batch = np.resize(images, (batch_size, *images.shape[1:]))
    alone = [lambda exit=exit: network.compute(batch, exit) for exit in range(len(network))]
    taken = median_seconds(alone, seconds=seconds)
    speed = {
        "batch_size": batch_size,
        "images_per_second": [batch_size / each for each in taken],
        "relative": [taken[-1] / each for each in taken],
    }
    if not points:
        return speed, []

    def stream() -> Iterator[np.ndarray]:
        return itertools.islice(itertools.cycle(images), TIMED_BATCHES * batch_size)

    def leave(threshold: float | None) -> object:
        early = math.inf if threshold is None else threshold
        return [answer.exit for answer in network.leave_early(stream(), early)]

    def stay() -> object:
        return [answer.exit for answer in network.answer_at(stream())]

    runs = [lambda point=point: leave(point["measured"]["threshold"]) for point in points]
    whole, *early = median_seconds([stay, *runs], seconds=seconds)
    return speed, [whole / each for each in early]


def _calibrated(predictions: Predictions, temperatures: Sequence[float] | None) -> np.ndarray:
    if temperatures is None:
        return predictions.exits
    pairs = zip(predictions.exits, temperatures, strict=True)
    return np.stack([scaled(logits, temperature) for logits, temperature in pairs])
