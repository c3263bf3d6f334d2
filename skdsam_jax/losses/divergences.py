"""Divergences of a student's predictions from a teacher's."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import check_temperature, student_and_teacher


def distillation_kl(
    student_logits: jax.Array, teacher_logits: jax.Array, temperature: ArrayLike
) -> jax.Array:
    """Kullback-Leibler divergence of the student from the teacher, both softened, in nats.

    Equation: KL(p || q) = sum_j p_j (log p_j - log q_j), p = softmax(z_teacher / T),
    q = softmax(z_student / T)

    The factor T^2, which keeps the size of the gradient independent of T, is left to the caller.

    Args:
      student_logits: [batch, classes].
      teacher_logits: [batch, classes]; no gradient reaches it.
      temperature: T > 0.

    Returns:
      [batch]; 0 where the two agree.

    Raises:
      ValueError: shapes that differ or are not [batch, classes], or `temperature` not positive.

    Example:
      >>> distillation_kl(jnp.array([[0.0, 0.0]]), jnp.array([[99.0, 0.0]]), 1.0).round(3)  # log 2
      Array([0.693], dtype=float32)

    Source: thesis equations 2.3 and 3.9 (there times T^2); Hinton et al. 2015, arXiv:1503.02531.
    The thesis writes KL(q^i, q^C), student first; as in all code of the field the divergence is
    taken from the teacher's distribution.
    """
    check_temperature("temperature", temperature)
    student, teacher = student_and_teacher("logits", student_logits, teacher_logits)
    student = jax.nn.log_softmax(student / temperature, axis=-1)
    teacher = jax.nn.log_softmax(teacher / temperature, axis=-1)
    return kl_of_logs(student, teacher)


def kl_of_logs(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """KL(teacher || student) over the last axis, of logarithms of probabilities.

    No gradient is stopped.
    """
    return jnp.sum(jnp.exp(teacher) * (teacher - student), axis=-1)
