"""Losses of students that learn from other, finished networks."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import as_exits, as_matrix, check_batch
from skdsam_jax.losses.divergences import distillation_kl
from skdsam_jax.losses.features import normalized_l1
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.result import Loss


def knowledge_distillation_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    *,
    weight: ArrayLike = 1.0,
    temperature: ArrayLike = 4.0,
) -> Loss:
    """Knowledge distillation: a student learns from the labels and from another network's logits.

    Equation: L = CE(z_s, y) + lambda T^2 KL(softmax(z_t / T) || softmax(z_s / T)); averaged over
    the batch

    This is the thesis's form: it has the factor T^2, and the cross-entropy keeps its full weight
    (not 1 - lambda, as some codes have it). On the order of the divergence see `distillation_kl`.

    Args:
      student_logits: z_s, [batch, classes].
      teacher_logits: z_t, [batch, classes]; no gradient reaches it.
      labels: y, integers [batch] or probabilities [batch, classes].
      weight: lambda.
      temperature: T > 0.

    Returns:
      The scalar and its terms: "cross_entropy" and "kl" (without T^2), both [batch].

    Raises:
      ValueError: shapes that do not fit, or `temperature` not positive.

    Example:
      >>> logits = jnp.zeros((2, 4))
      >>> knowledge_distillation_loss(logits, logits, jnp.array([0, 3]))[0].round(3)
      Array(1.386, dtype=float32)

    Source: thesis equation 1.2; Hinton et al. 2015, arXiv:1503.02531.
    """
    # The divergence comes first: its errors call the student's logits by their name.
    kl = distillation_kl(student_logits, teacher_logits, temperature)
    ce = cross_entropy(student_logits, labels)
    return jnp.mean(ce + weight * temperature**2 * kl), {"cross_entropy": ce, "kl": kl}


def feed_loss(
    logits: jax.Array,
    transformed_features: Sequence[jax.Array],
    teacher_features: Sequence[jax.Array],
    labels: jax.Array,
    *,
    feature_weight: ArrayLike,
    reduction: str = "sum",
) -> Loss:
    """FEED, feature-level ensemble distillation: a student imitates several teachers' features.

    Equation: L = CE(z, y)
    + beta sum_n || x_n / ||x_n||_2 - N_n / ||N_n||_2 ||_1; averaged over the batch, where x_n are a
    teacher's features and N_n the student's after a transformation trained with it

    Args:
      logits: z, [batch, classes].
      transformed_features: N_n, one array [batch, D] for each of 1 or more teachers, flattened.
      teacher_features: x_n, as many arrays [batch, D]; no gradient reaches them.
      labels: y, integers [batch] or probabilities [batch, classes].
      feature_weight: beta; it has no default, because no published value could be verified.
      reduction: "sum" or "mean" over D, see `normalized_l1`.

    Returns:
      The scalar and its terms: "cross_entropy" [batch] and "feature" [teachers, batch].

    Raises:
      ValueError: no teachers, sequences of different lengths, shapes that do not fit, or an unknown
        `reduction`.

    Example:
      >>> features = jnp.ones((1, 1, 3))
      >>> feed_loss(jnp.zeros((1, 4)), features, features, jnp.array([3]), feature_weight=1.0)[0]
      Array(1.3862944, dtype=float32)

    Source: Park and Kwak 2019, arXiv:1909.10754. There is no official code: this is a transcription
    of the equations only; unit length and L1 are those of factor transfer.
    """
    logits = as_matrix("logits", logits)
    students = as_exits("transformed_features", transformed_features, minimum=1)
    check_batch("transformed_features[0]", students[0], "logits", logits)
    teachers = as_exits("teacher_features", teacher_features, minimum=1)
    if len(teachers) != len(students):
        raise ValueError(
            f"teacher_features: {len(teachers)} teachers, but transformed_features has "
            f"{len(students)}"
        )
    ce = cross_entropy(logits, labels)
    pairs = zip(students, teachers, strict=True)
    feature = jnp.stack([normalized_l1(*pair, reduction) for pair in pairs])
    scalar = jnp.mean(ce + feature_weight * jnp.sum(feature, axis=0))
    return scalar, {"cross_entropy": ce, "feature": feature}
