"""Losses that normalise the classes other than the label: USKD without, NKD with a teacher."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import (
    as_matrix,
    check_choice,
    check_temperature,
    matrix_like,
    one_hot_labels,
)
from skdsam_jax.losses.labels import cross_entropy, smooth_labels
from skdsam_jax.losses.non_targets import at_label, log_softmax_of_others, share_of_others
from skdsam_jax.losses.result import Loss

RANKS = ("log_probability", "probability")
"""The values `rank` takes, see `uskd_targets`."""

_EPSILON = 1e-6  # the official code's of USKD
_WEAK_SMOOTHING = 0.1


def uskd_targets(
    logits: jax.Array, weak_logits: jax.Array, labels: jax.Array, *, rank: str = "log_probability"
) -> tuple[jax.Array, jax.Array]:
    """USKD's customised soft labels: one for the label's class, and Zipf's law for the others.

    Equation, with s = softmax(z), w = softmax(g):

    * target: P = s_y^2 + 1 - mean over the batch of s_y^2. It couples the batch: on several
      devices the mean must be that of the global batch.
    * non-target: q_j = 1 / place_j, scaled to sum 1 over j != y, where place is the position of
      rho_j in descending order among all classes:
      "log_probability": rho_j = w_j / (1 - w_y + 1e-6) + log s_j / (1 - log s_y + 1e-6)
      "probability": rho_j = w_j / (1 - w_y) + s_j / (1 - s_y)

    Args:
      logits: z, [batch, classes].
      weak_logits: g, [batch, classes].
      labels: y, integers [batch].
      rank: one of `RANKS`. The first is what the official code computes, which overwrites s by its
        logarithm; the second is the paper's.

    Returns:
      P [batch] and q [batch, classes]; no gradient passes.

    Raises:
      ValueError: shapes that do not fit, labels that are not integers, or an unknown `rank`.

    Example:
      >>> z = jnp.array([[2.0, 1.0, 0.0]])
      >>> uskd_targets(z, z, jnp.array([0]))[1].round(2)  # places 1, 2, 3
      Array([[0. , 0.6, 0.4]], dtype=float32)

    Source: as `uskd_loss`.
    """
    check_choice("rank", rank, RANKS)
    logits = as_matrix("logits", logits)
    weak_logits = matrix_like("weak_logits", weak_logits, "logits", logits)
    is_label = one_hot_labels(labels, logits) > 0
    logits, weak_logits = jax.lax.stop_gradient((logits, weak_logits))
    strong, weak = jax.nn.log_softmax(logits, axis=-1), jax.nn.softmax(weak_logits, axis=-1)
    squares = jnp.square(at_label(jnp.exp(strong), is_label))
    if rank == "probability":
        strong, one = jnp.exp(strong), 1.0
    else:
        one = 1.0 + _EPSILON
    smallest = jnp.finfo(logits.dtype).eps  # a certain prediction leaves nothing to the others

    def over_rest(values: jax.Array) -> jax.Array:
        rest = jnp.maximum(one - at_label(values, is_label), smallest)
        return values / rest[:, None]

    order = jnp.argsort(-(over_rest(weak) + over_rest(strong)), axis=-1)
    places = 1 + jnp.argsort(order, axis=-1)
    non_target = share_of_others(1 / places.astype(logits.dtype), is_label)
    return squares + 1 - jnp.mean(squares), non_target


def uskd_loss(
    logits: jax.Array,
    weak_logits: jax.Array,
    labels: jax.Array,
    *,
    target_weight: ArrayLike = 0.1,
    non_target_weight: ArrayLike = 0.1,
    weak_weight: ArrayLike = 0.1,
    rank: str = "log_probability",
) -> Loss:
    """USKD, universal self-knowledge distillation: soft labels from the network and a weak exit.

    Equation: L = CE(z, y) - alpha P log s_y - beta sum_{j != y} q_j log s'_j + mu CE(g, smooth),
    where P and q are `uskd_targets`, s = softmax(z), s' = softmax of z over the classes other than
    y, and smooth the label smoothed over all classes by 0.1; averaged over the batch

    P couples the examples of a batch, see `uskd_targets`.

    Args:
      logits: z, [batch, classes], two or more classes.
      weak_logits: g, [batch, classes], of a dense layer on the third stage.
      labels: y, integers [batch].
      target_weight: alpha.
      non_target_weight: beta.
      weak_weight: mu. The official configurations have (alpha, beta, mu) = (0.1, 0.1, 0.1) for
        CIFAR-100 and (1, 0.1, 0.005) for ResNet-18 on ImageNet.
      rank: one of `RANKS`, see `uskd_targets`.

    Returns:
      The scalar and its terms, all [batch]: "cross_entropy", "target", "non_target" and "weak".

    Raises:
      ValueError: as `uskd_targets`.

    Example:
      >>> logits = jnp.zeros((2, 4))
      >>> sorted(uskd_loss(logits, logits, jnp.array([0, 3]))[1])
      ['cross_entropy', 'non_target', 'target', 'weak']

    Source: Yang et al., ICCV 2023, arXiv:2303.13005, and its official code, which takes mixed
    labels too, in a way of its own.
    """
    logits = as_matrix("logits", logits)
    weak_logits = matrix_like("weak_logits", weak_logits, "logits", logits)
    one_hot = one_hot_labels(labels, logits)
    target, non_target = uskd_targets(logits, weak_logits, labels, rank=rank)
    ce = cross_entropy(logits, one_hot)
    others = log_softmax_of_others(logits, one_hot > 0)
    smooth = smooth_labels(one_hot, logits.shape[1], _WEAK_SMOOTHING, "all")
    terms = {
        "cross_entropy": ce,
        "target": target * ce,
        "non_target": -jnp.sum(non_target * others, axis=-1),
        "weak": cross_entropy(weak_logits, smooth),
    }
    examples = (
        ce
        + target_weight * terms["target"]
        + non_target_weight * terms["non_target"]
        + weak_weight * terms["weak"]
    )
    return jnp.mean(examples), terms


def nkd_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    *,
    weight: ArrayLike = 1.5,
    temperature: ArrayLike = 1.0,
) -> Loss:
    """NKD, normalised knowledge distillation: a teacher's view of label and others, apart.

    Equation: L = CE(z_s, y) - t_y log s_y + gamma T^2 H(t', s'), where s = softmax(z_s),
    t = softmax(z_t), t' and s' are the softmax at T over the classes other than y, and
    H(p, q) = -sum_j p_j log q_j; averaged over the batch

    Args:
      student_logits: z_s, [batch, classes], two or more classes.
      teacher_logits: z_t, [batch, classes]; no gradient reaches it.
      labels: y, integers [batch].
      weight: gamma.
      temperature: T > 0; t_y is not softened.

    Returns:
      The scalar and its terms, all [batch]: "cross_entropy", "target" and "non_target" (without
      T^2).

    Raises:
      ValueError: shapes that do not fit, labels that are not integers, or `temperature` not
        positive.

    Example:
      >>> nkd_loss(jnp.zeros((1, 2)), jnp.zeros((1, 2)), jnp.array([1]))[0].round(3)  # 1.5 log 2
      Array(1.04, dtype=float32)

    Source: Yang et al., ICCV 2023, arXiv:2303.13005, and its official code.
    """
    check_temperature("temperature", temperature)
    student = as_matrix("student_logits", student_logits)
    teacher = matrix_like("teacher_logits", teacher_logits, "student_logits", student)
    teacher = jax.lax.stop_gradient(teacher)
    one_hot = one_hot_labels(labels, student)
    is_label = one_hot > 0
    ce = cross_entropy(student, one_hot)
    teacher_others = jnp.exp(log_softmax_of_others(teacher / temperature, is_label))
    # At the label the second factor is 0.
    non_target = teacher_others * log_softmax_of_others(student / temperature, is_label)
    terms = {
        "cross_entropy": ce,
        "target": at_label(jax.nn.softmax(teacher, axis=-1), is_label) * ce,
        "non_target": -jnp.sum(non_target, axis=-1),
    }
    examples = ce + terms["target"] + weight * temperature**2 * terms["non_target"]
    return jnp.mean(examples), terms
