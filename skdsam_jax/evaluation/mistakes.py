"""The worst mistakes of a network, and small pictures of them."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from skdsam_jax.evaluation.examples import Examples

# How many are kept.
MOST_MISTAKES = 24

# The longest side of a thumbnail, in pixels.
_SIDE = 96

_FOLDER = "mistakes"


def worst_mistakes(
    log_probabilities: np.ndarray, examples: Examples, class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """The wrong answers that the network was surest of.

    Args:
      log_probabilities: floating [examples, classes], of one exit.
      examples: what was classified.
      class_names: in the order of the labels.

    Returns:
      At most `MOST_MISTAKES`, the most confident first, of equals that of the lowest index: for
      each its `index` in the split, `true_class`, `predicted_class`, the `confidence` in that,
      `file` (CLASS/NAME; None where the set has no files) and `thumbnail`, where
      `write_thumbnails` writes a picture of it.
    """
    predicted = log_probabilities.argmax(axis=1)
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    wrong = np.flatnonzero(predicted != examples.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        {
            "index": int(index),
            "true_class": class_names[examples.labels[index]],
            "predicted_class": class_names[predicted[index]],
            "confidence": float(confidence[index]),
            "file": None if examples.file is None else examples.file(int(index)),
            "thumbnail": f"{_FOLDER}/{place:02}.png",
        }
        for place, index in enumerate(worst, 1)
    ]


def write_thumbnails(
    mistakes: Sequence[dict[str, Any]], examples: Examples, folder: pathlib.Path
) -> None:
    """Writes what the network saw of each mistake, at most 96 pixels high, as PNG.

    Args:
      mistakes: from `worst_mistakes` of the same examples.
      examples: what was classified.
      folder: where `evaluation.json` is.
    """
    (folder / _FOLDER).mkdir(exist_ok=True)
    for mistake in mistakes:
        picture = Image.fromarray(examples.read(mistake["index"]))
        picture.thumbnail((_SIDE, _SIDE))
        picture.save(folder / mistake["thumbnail"])
