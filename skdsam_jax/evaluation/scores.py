"""Measures of predicted probabilities, in float64 on the host."""

from typing import Any

import numpy as np

from skdsam_jax.evaluation.metrics import CALIBRATION_BINS


def score(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The measures of one prediction over a whole set.

    With p the probabilities, y the label and k the most probable class of each of n examples, the
    first of equals:

        accuracy = mean [k = y],   top5_accuracy = mean [y among the five most probable]
        nll = mean -log p_y        negative log likelihood, in nats
        brier_score = mean sum_c (p_c - [c = y])^2                        (Brier, 1950), 0 to 2
        calibration_error = sum_b n_b / n |accuracy_b - confidence_b|     (Guo et al., 2017)

    over 15 equal bins (lower, upper] of the confidence p_k.

    Args:
      log_probabilities: floating [examples, classes].
      labels: integers [examples].

    Returns:
      These by name, as plain numbers.
    """
    precise = np.asarray(log_probabilities, np.float64)
    examples = np.arange(len(labels))
    chosen = precise[examples, labels]
    # As `jax.lax.top_k` ranks: the first of equals comes first.
    classes = np.arange(precise.shape[1])
    ahead = (precise > chosen[:, None]) | (
        (precise == chosen[:, None]) & (classes < np.asarray(labels)[:, None])
    )
    rank = ahead.sum(axis=1)
    probabilities = np.exp(precise)
    squares = np.sum(probabilities**2, axis=1) - 2 * np.exp(chosen) + 1
    bins = reliability(log_probabilities, labels)
    gaps = np.abs(bins["correct"] - bins["confidence"])
    return {
        "accuracy": float(np.mean(rank == 0)),
        "top5_accuracy": float(np.mean(rank < 5)),
        "nll": float(-np.mean(chosen)),
        "brier_score": float(np.mean(squares)),
        "calibration_error": float(np.sum(gaps) / len(labels)),
    }


def reliability(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What a reliability diagram shows: sums over the examples of each bin of confidence.

    Args:
      log_probabilities: floating [examples, classes].
      labels: integers [examples].

    Returns:
      `count`, `confidence` and `correct`, float64 [15].
    """
    predicted = log_probabilities.argmax(axis=1)
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    place = np.clip(np.ceil(confidence * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1)

    def binned(values: np.ndarray | None) -> np.ndarray:
        return np.bincount(place.astype(int), values, CALIBRATION_BINS).astype(np.float64)

    return {
        "count": binned(None),
        "confidence": binned(confidence),
        "correct": binned((predicted == labels).astype(np.float64)),
    }


def confusion_matrix(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Int [classes, classes]: examples of each class (row) that were taken for each (column)."""
    classes = log_probabilities.shape[1]
    pairs = np.asarray(labels) * classes + log_probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_accuracies(confusion: np.ndarray) -> list[float | None]:
    """The share of each class that was recognised; None where there is no example of it."""
    return [
        float(row[label] / row.sum()) if row.sum() else None for label, row in enumerate(confusion)
    ]
