"""Losses of students that learn from other, finished networks."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.losses.divergences import distillation_kl
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

    Source: thesis equation 1.2; Hinton et al. 2015, arXiv:1503.02531.
    """
    # The divergence comes first: its errors call the student's logits by their name.
    kl = distillation_kl(student_logits, teacher_logits, temperature)
    ce = cross_entropy(student_logits, labels)
    return jnp.mean(ce + weight * temperature**2 * kl), {"cross_entropy": ce, "kl": kl}
