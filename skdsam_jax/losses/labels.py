"""Losses of predictions and labels, and targets made of labels alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import (
    as_matrix,
    check_choice,
    check_fraction,
    check_temperature,
    label_probabilities,
    one_hot_labels,
    widen,
)
from skdsam_jax.losses.divergences import kl_of_logs
from skdsam_jax.losses.result import Loss

SPREADS = ("others", "all")
"""The values `spread` takes, see `smooth_labels`."""


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

    Example:
      >>> cross_entropy(jnp.zeros((1, 4)), jnp.array([2])).round(3)  # log 4
      Array([1.386], dtype=float32)

    Source: thesis equations 2.2 and 3.8.
    """
    logits = as_matrix("logits", logits)
    probabilities = label_probabilities(labels, logits)
    return -jnp.sum(probabilities * jax.nn.log_softmax(logits, axis=-1), axis=-1)


def smooth_labels(
    labels: jax.Array, classes: int, smoothing: ArrayLike = 0.1, spread: str = "others"
) -> jax.Array:
    """Label smoothing: takes probability from the label and spreads it over classes.

    Equation, with K classes:

    * "others": t = (1 - eps - eps / (K - 1)) y + eps / (K - 1): the label keeps 1 - eps, every
      other class gets eps / (K - 1).
    * "all": t = (1 - eps) y + eps / K, as PyTorch, Keras and optax do. It equals "others" at
      eps_all = eps_others K / (K - 1).

    Args:
      labels: y, integers [batch] or probabilities [batch, classes].
      classes: K >= 2.
      smoothing: eps, from 0 to 1.
      spread: one of `SPREADS`.

    Returns:
      t, [batch, classes]; in JAX's default float type for integers, at least float32 otherwise.

    Raises:
      ValueError: labels of another shape, fewer than two classes, `smoothing` outside [0, 1], or an
        unknown `spread`.

    Example:
      >>> smooth_labels(jnp.array([0]), 3, 0.2)
      Array([[0.8, 0.1, 0.1]], dtype=float32)

    Source: Szegedy et al., CVPR 2016, arXiv:1512.00567 ("all"). The baselines of self-distillation
    papers use "others", among them the code of Tf-KD (yuanli2333/Teacher-free-Knowledge-
    Distillation) and winycg/Self-KD-Lib.
    """
    return _smooth(_labels_of(labels, classes, label_probabilities), smoothing, spread)


def label_smoothing_loss(
    logits: jax.Array, labels: jax.Array, *, smoothing: ArrayLike = 0.1, spread: str = "others"
) -> Loss:
    """Cross-entropy against smoothed labels.

    Equation: L = -sum_j t_j log softmax(z)_j, t = `smooth_labels` of y; averaged over the batch

    Args:
      logits: z, [batch, classes].
      labels: y, integers [batch] or probabilities [batch, classes].
      smoothing: eps, from 0 to 1; 0.1 is the field's.
      spread: one of `SPREADS`, see `smooth_labels`.

    Returns:
      The scalar and its term "cross_entropy" [batch], against t.

    Raises:
      ValueError: shapes that do not fit, `smoothing` outside [0, 1], or an unknown `spread`.

    Example:
      >>> label_smoothing_loss(jnp.zeros((2, 4)), jnp.array([0, 3]))[0].round(3)
      Array(1.386, dtype=float32)

    Source: as `smooth_labels`.
    """
    logits = as_matrix("logits", logits)
    targets = _smooth(label_probabilities(labels, logits), smoothing, spread)
    ce = cross_entropy(logits, targets)
    return jnp.mean(ce), {"cross_entropy": ce}


def virtual_teacher(
    labels: jax.Array,
    classes: int,
    correct_probability: ArrayLike = 0.99,
    temperature: ArrayLike = 20.0,
) -> jax.Array:
    """The teacher of Tf-KD_reg, designed by hand.

    Equation: u = softmax(v / T), v_y = a, v_j = (1 - a) / (K - 1) for the other classes

    v holds probabilities that are treated as logits. At T = 20 and K = 100 the label's probability
    is 1.05 times that of any other class, whatever a: the teacher is all but uniform.

    Args:
      labels: y, integers [batch].
      classes: K >= 2.
      correct_probability: a, from 0 to 1; 0.99 is written into the official code.
      temperature: T > 0.

    Returns:
      u, [batch, classes], in JAX's default float type.

    Raises:
      ValueError: labels that are not integers [batch], fewer than two classes, `temperature` not
        positive, or `correct_probability` outside [0, 1].

    Example:
      >>> virtual_teacher(jnp.array([1]), 2, 1.0, 0.5).round(3)
      Array([[0.119, 0.881]], dtype=float32)

    Source: as `tf_kd_reg_loss`.
    """
    one_hot = _labels_of(labels, classes, one_hot_labels)
    return jnp.exp(_virtual_teacher_logs(one_hot, correct_probability, temperature))


def tf_kd_reg_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    weight: ArrayLike = 0.1,
    temperature: ArrayLike = 20.0,
    correct_probability: ArrayLike = 0.99,
    scale: ArrayLike = 1.0,
) -> Loss:
    """Tf-KD_reg, distillation from a virtual teacher.

    Equation: L = (1 - w) CE(z, y) + w s KL(u || softmax(z)), u = `virtual_teacher`; averaged over
    the batch

    The student is not softened and there is no T^2. Because u is all but uniform, this is label
    smoothing "all" with eps = w s / (1 - w + w s) and total weight 1 - w + w s: by default the
    gradient of `label_smoothing_loss(smoothing=0.1, spread="all")` to a relative 5e-5 at 100
    classes.

    Args:
      logits: z, [batch, classes].
      labels: y, integers [batch].
      weight: w.
      temperature: T > 0, of the teacher.
      correct_probability: a, from 0 to 1.
      scale: s; multiplier / K in terms of the official code, which averages over the classes too.

    Returns:
      The scalar and its terms "cross_entropy" and "kl", both [batch].

    Raises:
      ValueError: shapes that do not fit, labels that are not integers, `temperature` not positive,
        or `correct_probability` outside [0, 1].

    Example:
      >>> tf_kd_reg_loss(jnp.zeros((1, 4)), jnp.array([2]), weight=0.5)[0].round(3)
      Array(0.693, dtype=float32)

    Source: Yuan et al., CVPR 2020, arXiv:1909.11723; defaults of ResNet-18 on CIFAR-100 in
    yuanli2333/Teacher-free-Knowledge-Distillation. The paper softens both sides, the code only the
    teacher, which is the form that made the published numbers. "TF_KD_reg" of winycg/Self-KD-Lib
    is another loss.
    """
    logits = as_matrix("logits", logits)
    one_hot = one_hot_labels(labels, logits)
    teacher = _virtual_teacher_logs(one_hot, correct_probability, temperature)
    ce = cross_entropy(logits, one_hot)
    kl = kl_of_logs(jax.nn.log_softmax(logits, axis=-1), teacher)
    return jnp.mean((1 - weight) * ce + weight * scale * kl), {"cross_entropy": ce, "kl": kl}


def _labels_of(labels: ArrayLike, classes: int, convert: Callable[..., jax.Array]) -> jax.Array:
    """`convert`s labels that come without logits; integers take JAX's default float type."""
    labels = jnp.asarray(labels)
    floating = jnp.issubdtype(labels.dtype, jnp.floating)
    dtype = widen(labels).dtype if floating else jax.dtypes.canonicalize_dtype(float)
    return convert(labels, jax.ShapeDtypeStruct((*labels.shape[:1], classes), dtype))


def _smooth(labels: jax.Array, smoothing: ArrayLike, spread: str) -> jax.Array:
    """`smooth_labels` of probabilities [batch, classes]."""
    check_fraction("smoothing", smoothing)
    check_choice("spread", spread, SPREADS)
    classes = _at_least_two(labels.shape[1])
    if spread == "all":
        return (1 - smoothing) * labels + smoothing / classes
    share = smoothing / (classes - 1)
    return (1 - smoothing - share) * labels + share


def _virtual_teacher_logs(
    one_hot: jax.Array, correct_probability: ArrayLike, temperature: ArrayLike
) -> jax.Array:
    """The logarithms of `virtual_teacher`."""
    check_fraction("correct_probability", correct_probability)
    check_temperature("temperature", temperature)
    other = (1 - correct_probability) / (_at_least_two(one_hot.shape[1]) - 1)
    values = correct_probability * one_hot + other * (1 - one_hot)
    return jax.nn.log_softmax(values / temperature, axis=-1)


def _at_least_two(classes: int) -> int:
    if classes < 2:
        raise ValueError(f"classes: takes 2 or more, not {classes}")
    return classes
