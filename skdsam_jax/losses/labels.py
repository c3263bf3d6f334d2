"""Losses of predictions and labels."""

import jax
import jax.numpy as jnp

from skdsam_jax.arguments import as_matrix, label_probabilities


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of labels and predictions, in nats.

    Equation: CE = -sum_j y_j log softmax(z)_j

    Args:
      logits: z, [batch, classes].
      labels: y, integers [batch] or probabilities [batch, classes].

    Returns:
      [batch].

    Raises:
      ValueError: `logits` or `labels` of another shape, or labels that are not numbers.

    Source: thesis equations 2.2 and 3.8.
    """
    logits = as_matrix("logits", logits)
    probabilities = label_probabilities(labels, logits)
    return -jnp.sum(probabilities * jax.nn.log_softmax(logits, axis=-1), axis=-1)
