"""What a trained network says of labelled images; needs no optimiser and no training set."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.evaluation.examples import Examples
from skdsam_jax.evaluation.exits import Exits, Variables
from skdsam_jax.evaluation.metrics import (
    ensemble_log_probabilities,
    exit_log_probabilities,
    other_log_probabilities,
)
from skdsam_jax.trained import Trained


class Predictions(NamedTuple):
    """Log probabilities of every example, at least float32.

    Attributes:
      labels: int32 [examples].
      exits: [C, examples, classes], shallow to deep.
      ensemble: [examples, classes], of all exits; see `metrics.exit_sums`.
      others: name to [examples, classes], of what else predicts, such as a self-teacher.
    """

    labels: np.ndarray
    exits: np.ndarray
    ensemble: np.ndarray
    others: Mapping[str, np.ndarray]


class Evaluator:
    """Runs all exits of a network over sets of images, compiled once."""

    def __init__(self, trained: Trained, batch_size: int) -> None:
        """Nothing is compiled yet.

        Args:
          trained: from `skdsam_jax.load`. It answers as the run's own evaluation did if it computes
            in the same type, see `as_evaluated`, and in batches of the same size.
          batch_size: images at once.
        """
        self._exits = Exits(trained)
        self._batch_size = batch_size
        self._predict = jax.jit(self._predict_batch)

    def __call__(self, examples: Examples) -> Predictions:
        """The predictions for all examples, in their order."""
        batches = [self._predict_images(images) for images in examples.batches(self._batch_size)]
        joined = jax.tree.map(lambda *rows: np.concatenate(rows, axis=-2), *batches)
        return Predictions(examples.labels, *joined)

    def _predict_images(self, images: np.ndarray) -> tuple[Any, ...]:
        padded = pad(images, self._batch_size)
        predicted = jax.device_get(self._predict(self._exits.variables, padded))
        return jax.tree.map(lambda rows: rows[..., : len(images), :], predicted)

    def _predict_batch(
        self, variables: Variables, images: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        outputs = self._exits.outputs(variables, images)
        return (
            exit_log_probabilities(outputs),
            ensemble_log_probabilities(outputs),
            other_log_probabilities(outputs),
        )


def pad(images: np.ndarray, batch_size: int) -> np.ndarray:
    """Images [n, ...] and zeros up to `batch_size`, so that one program serves every batch."""
    rows = [(0, batch_size - len(images)), *[(0, 0)] * (images.ndim - 1)]
    return np.pad(images, rows) if len(images) < batch_size else images


def as_evaluated(trained: Trained) -> Trained:
    """The network, computing in the type that its run computed and evaluated in."""
    if trained.config["training"]["compute_dtype"] != "bfloat16":
        return trained
    return dataclasses.replace(trained, dtype=jnp.dtype("bfloat16"))
