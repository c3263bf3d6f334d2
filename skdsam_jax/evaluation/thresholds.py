"""Accuracy against cost, when images leave at the first exit that is confident enough.

The rule of BranchyNet (Teerapittayanon et al., ICPR 2016) with the largest probability in place of
the entropy, as in the budgeted batch classification of MSDNet (Huang et al., ICLR 2018), with one
threshold for all exits.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# Quantiles of the confidences of which a curve is made.
_POINTS = 101


class Answers(NamedTuple):
    """What each exit says of each example.

    Attributes:
      confidence: float64 [C, examples], the largest probability.
      correct: bool [C, examples], whether that is the label's.
    """

    confidence: np.ndarray
    correct: np.ndarray


def answers_of(log_probabilities: np.ndarray, labels: np.ndarray) -> Answers:
    """What follows from log probabilities [C, examples, classes] and labels [examples]."""
    confidence = np.exp(log_probabilities.max(axis=-1).astype(np.float64))
    return Answers(confidence, log_probabilities.argmax(axis=-1) == labels)


def candidate_thresholds(answers: Answers) -> list[float | None]:
    """Thresholds from 0, all leave at the first exit, to None, all reach the deepest.

    Between them lie quantiles of the shallow exits' confidences.
    """
    shallow = answers.confidence[:-1]
    if not shallow.size:
        return [None]
    quantiles = np.quantile(shallow, np.linspace(0, 1, _POINTS))
    return [0.0, *np.unique(quantiles).tolist(), None]


def measure_threshold(
    answers: Answers, flops: Sequence[int], threshold: float | None
) -> dict[str, Any]:
    """Accuracy and cost where an image leaves at the first exit i < C with confidence >= threshold.

    Args:
      answers: of all exits.
      flops: of each exit, what an image takes that leaves there.
      threshold: None: none leaves before the deepest exit C.

    Returns:
      `threshold`, `accuracy`, `mean_flops` and `leave` [C], the share that leaves at each exit.
    """
    exits, examples = answers.confidence.shape
    sure = np.zeros((exits, examples), bool)
    sure[-1] = True
    if threshold is not None:
        sure[:-1] = answers.confidence[:-1] >= threshold
    left_at = sure.argmax(axis=0)
    share = np.bincount(left_at, minlength=exits) / examples
    return {
        "threshold": threshold,
        "accuracy": float(answers.correct[left_at, np.arange(examples)].mean()),
        "mean_flops": float(share @ np.asarray(flops, np.float64)),
        "leave": share.tolist(),
    }


def choose_threshold(
    answers: Answers, flops: Sequence[int], budget: float | None
) -> dict[str, Any] | None:
    """The best of `candidate_thresholds`, to be asked of a validation split.

    Args:
      answers: of all exits.
      flops: as `measure_threshold` takes them.
      budget: the most FLOPs that an image may take on average: the most accurate threshold is
        chosen, of equals the cheapest. None: the cheapest threshold that is not less accurate than
        the deepest exit, of equals the most accurate.

    Returns:
      As `measure_threshold`; None if no threshold keeps the budget.
    """
    thresholds = candidate_thresholds(answers)
    points = [measure_threshold(answers, flops, threshold) for threshold in thresholds]
    if budget is None:
        deepest = points[-1]["accuracy"]
        points = [point for point in points if point["accuracy"] >= deepest]
        return min(points, key=lambda point: (point["mean_flops"], -point["accuracy"]))
    points = [point for point in points if point["mean_flops"] <= budget]
    return max(points, key=lambda point: (point["accuracy"], -point["mean_flops"]), default=None)
