"""What a run measures: sums over examples, and the numbers made of them.

Sums of different batches add up, so a mean over a data set is exact whatever its batches were:
metrics are accumulated as sums and divided once. Every exit is measured, and behind them the
ensemble of the exits, weighed by attention (thesis equation 3.17).
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from skdsam_jax.methods import ExitOutputs, Terms
from skdsam_jax.models.operations import at_least_float32

Sums = dict[str, jax.Array]

CALIBRATION_BINS = 15

_OTHERS = "others/"


def exit_sums(outputs: ExitOutputs, labels: jax.Array, mask: jax.Array) -> Sums:
    """Sums of everything that is measured at the exits, over the examples of a batch.

    With q^i the softmax of exit i's logits at temperature 1 and a_i its attention weight (1/(C-1)
    for a method without attention), the ensemble is 1/2 q^C + 1/2 sum_i a_i q^i. Arrays over exits
    are shallow to deep, the ensemble last. One exit is its own ensemble.

    Args:
      outputs: of the network, for a batch.
      labels: integers [batch].
      mask: [batch], 1 for an example that counts, 0 for padding.

    Returns:
      `count`; `correct`, `correct_top5`, `nll` [C+1]; `bin_confidence`, `bin_correct` [C+1, bins];
      the same [1] of each other prediction as `others/NAME/...`; and, for more than one exit, `kl`
      [C-1] = KL(q^C || q^i), `mixture_kl` = KL(q^C || sum_i a_i q^i), and, of a method with
      attention, those of `attention_sums`.
    """
    log_probabilities = exit_log_probabilities(outputs)
    exits = len(outputs.logits)
    mask = mask.astype(log_probabilities.dtype)
    sums = {"count": jnp.sum(mask)}
    teacher, students = log_probabilities[-1], log_probabilities[:-1]
    if exits > 1:
        mixture, weights = _mixture(outputs, students)
        sums["kl"] = jnp.sum(mask * _divergence(teacher[None], students), axis=-1)
        sums["mixture_kl"] = jnp.sum(mask * _divergence(teacher, mixture))
        if outputs.attention is not None:
            sums |= attention_sums(weights, mask)
    ensemble = ensemble_log_probabilities(outputs)
    for other, predicted in other_log_probabilities(outputs).items():
        other_sums = _prediction_sums(predicted[None], labels, mask)
        sums |= {f"{_OTHERS}{other}/{name}": value for name, value in other_sums.items()}
    log_probabilities = jnp.concatenate([log_probabilities, ensemble[None]])
    return sums | _prediction_sums(log_probabilities, labels, mask)


def exit_log_probabilities(outputs: ExitOutputs) -> jax.Array:
    """The logarithms of q^i, of every exit, [C, batch, classes], in at least float32."""
    logits = jnp.stack(outputs.logits)
    return jax.nn.log_softmax(logits.astype(at_least_float32(logits.dtype)))


def ensemble_log_probabilities(outputs: ExitOutputs) -> jax.Array:
    """The ensemble's log probabilities, [batch, classes]; see `exit_sums`."""
    *students, teacher = exit_log_probabilities(outputs)
    if not students:
        return teacher
    mixture, _ = _mixture(outputs, jnp.stack(students))
    return jnp.logaddexp(teacher, mixture) - np.log(2).astype(teacher.dtype)


def other_log_probabilities(outputs: ExitOutputs) -> dict[str, jax.Array]:
    """Of each other prediction its log probabilities, [batch, classes]."""
    dtype = at_least_float32(outputs.logits[-1].dtype)
    return {
        name: jax.nn.log_softmax(logits.astype(dtype)) for name, logits in outputs.others.items()
    }


def _mixture(outputs: ExitOutputs, students: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The logarithm of sum_i a_i q^i, [batch, classes], of the shallow exits, and the weights a."""
    weights = outputs.attention
    if weights is None:
        shape = students.shape[:2]
        weights = jnp.full(shape, 1 / len(students), students.dtype)
    mixture = jax.scipy.special.logsumexp(
        students, axis=0, b=weights[:, :, None].astype(students.dtype)
    )
    return mixture, weights


def attention_sums(weights: jax.Array, mask: jax.Array | None = None) -> Sums:
    """Sums over examples of the weights, and of their entropy -sum_i a_i log a_i in nats.

    Args:
      weights: [C-1, batch], sums to 1 over exits.
      mask: [batch], 1 for an example that counts; all count if None.
    """
    mask = jnp.ones_like(weights[0]) if mask is None else mask
    entropy = -jnp.sum(jax.scipy.special.xlogy(weights, weights), axis=0)
    return {
        "attention_weights": jnp.sum(mask[None] * weights, axis=-1),
        "attention_entropy": jnp.sum(mask * entropy),
    }


def training_sums(
    loss: jax.Array, terms: Terms, outputs: ExitOutputs, labels: jax.Array, gradient: Any
) -> Sums:
    """Sums over the examples of a training batch; `gradient_norm` counts once per step.

    Args:
      loss: the batch's scalar.
      terms: loss terms [.., batch]; one of another length counts as its mean for every example.
      outputs: of the exits for the anchors.
      labels: of the anchors, integers [batch], or probabilities [batch, classes]: then the most
        probable counts.
      gradient: of every parameter.

    Returns:
      `count`, `steps`, `loss`, `term/NAME` [..], `correct` [C] and those of `attention_sums`.
    """
    classes = labels if labels.ndim == 1 else jnp.argmax(labels, axis=-1)
    predictions = jnp.argmax(jnp.stack(outputs.logits), axis=-1)
    count = labels.shape[0]
    norm = optax.tree.norm(gradient)
    sums = {
        "count": jnp.asarray(count, loss.dtype),
        "steps": jnp.ones((), loss.dtype),
        "loss": loss * count,
        "correct": jnp.sum(predictions == classes[None], axis=-1).astype(loss.dtype),
        "gradient_norm": norm.astype(loss.dtype),
    }
    for name, values in terms.items():
        total = jnp.sum(values, axis=-1)
        length = values.shape[-1]
        sums[f"term/{name}"] = total if length == count else total * (count / length)
    if outputs.attention is not None:
        sums |= attention_sums(outputs.attention)
    return sums


def summarize_training(sums: Mapping[str, Any]) -> dict[str, Any]:
    """The means of an epoch's `training_sums`, as plain numbers and lists."""
    sums = {name: np.asarray(value, np.float64) for name, value in sums.items()}
    count, steps = sums.pop("count"), sums.pop("steps")
    means = {"gradient_norm": sums.pop("gradient_norm") / steps}
    means["accuracy"] = sums.pop("correct") / count
    means |= {name.removeprefix("term/"): value / count for name, value in sums.items()}
    return {name: value.tolist() for name, value in means.items()}


def summarize_exits(sums: Mapping[str, Any]) -> dict[str, Any]:
    """The measures of a whole set from its `exit_sums`, as plain numbers and lists.

    Returns:
      `accuracy` (deepest exit), `exit_accuracies` [C], `ensemble_accuracy`; the same of
      `top5_accuracy`, `nll` and `calibration_error` = sum_b n_b/n |accuracy_b - confidence_b| over
      15 equal bins of confidence; the names of `others`, and for each `NAME_accuracy` and the same
      three, such as `aggregated_accuracy` where a method looks at several views of an image; `kl`
      [C-1] and `mixture_kl`, None for a single exit; `attention_weights` [C-1] and
      `attention_entropy`, None without attention; and the `examples` they were measured on.
    """
    sums = {name: np.asarray(value, np.float64) for name, value in sums.items()}
    count = sums["count"]
    measures: dict[str, Any] = {"examples": round(float(count))}
    for name, value in _prediction_means(sums).items():
        plural = "exit_accuracies" if name == "accuracy" else f"exit_{name}"
        *exits, ensemble = value.tolist()
        measures |= {name: exits[-1], plural: exits, f"ensemble_{name}": ensemble}
    found = (re.fullmatch(f"{_OTHERS}(.*)/correct", name) for name in sums)
    measures["others"] = [match[1] for match in found if match]
    for other in measures["others"]:
        for name, value in _prediction_means(sums, f"{_OTHERS}{other}/").items():
            measures[f"{other}_{name}"] = value.item()
    for name in ("kl", "mixture_kl", "attention_weights", "attention_entropy"):
        measures[name] = (sums[name] / count).tolist() if name in sums else None
    return measures


def _prediction_means(sums: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, np.ndarray]:
    """Means over examples of the sums of `_prediction_sums`."""
    count = sums["count"]
    gaps = np.abs(sums[f"{prefix}bin_correct"] - sums[f"{prefix}bin_confidence"]).sum(axis=-1)
    return {
        "accuracy": sums[f"{prefix}correct"] / count,
        "top5_accuracy": sums[f"{prefix}correct_top5"] / count,
        "nll": sums[f"{prefix}nll"] / count,
        "calibration_error": gaps / count,
    }


def _divergence(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """KL(p || q) over the last axis, in nats."""
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def _prediction_sums(log_probabilities: jax.Array, labels: jax.Array, mask: jax.Array) -> Sums:
    """Sums over examples of what each row of [rows, batch, classes] predicts."""
    rows, _, classes = log_probabilities.shape
    best, ranked = jax.lax.top_k(log_probabilities, min(5, classes))
    hits = ranked == labels[None, :, None]
    correct = mask * hits[..., 0]
    confidence = jnp.exp(best[..., 0])
    chosen = jnp.take_along_axis(log_probabilities, labels[None, :, None], axis=-1)[..., 0]
    bins = jnp.clip(jnp.ceil(confidence * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1)
    row = jnp.arange(rows)[:, None]

    def binned(values: jax.Array) -> jax.Array:
        zeros = jnp.zeros((rows, CALIBRATION_BINS), log_probabilities.dtype)
        return zeros.at[row, bins.astype(jnp.int32)].add(values)

    return {
        "correct": jnp.sum(correct, axis=-1),
        "correct_top5": jnp.sum(mask * jnp.any(hits, axis=-1), axis=-1),
        "nll": -jnp.sum(mask * chosen, axis=-1),
        "bin_confidence": binned(mask * confidence),
        "bin_correct": binned(correct),
    }
