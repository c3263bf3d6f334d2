"""Distances of a student's pooled features from a teacher's."""

import jax
import jax.numpy as jnp

from skdsam_jax.arguments import check_choice, student_and_teacher

REDUCTIONS = ("mean", "sum")
"""The values `reduction` takes, see `normalized_l1`."""

_SMALLEST_NORM = 1e-12


def squared_l2(student_features: jax.Array, teacher_features: jax.Array) -> jax.Array:
    """Squared Euclidean distance of the features.

    Equation: ||F_student - F_teacher||_2^2, a sum over D

    Args:
      student_features: [batch, D].
      teacher_features: [batch, D]; no gradient reaches it.

    Returns:
      [batch].

    Raises:
      ValueError: shapes that differ or are not [batch, D].

    Example:
      >>> squared_l2(jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2)))
      Array([25.], dtype=float32)

    Source: thesis equation 2.4; Zhang et al., ICCV 2019, arXiv:1905.08094.
    """
    student, teacher = student_and_teacher("features", student_features, teacher_features)
    return jnp.sum(jnp.square(student - teacher), axis=-1)


def normalized_l1(
    student_features: jax.Array, teacher_features: jax.Array, reduction: str = "mean"
) -> jax.Array:
    """L1 distance of the features after each is scaled to Euclidean length 1.

    Equation: || F_student / ||F_student||_2 - F_teacher / ||F_teacher||_2 ||_1

    Norms below 1e-12 count as 1e-12. Features that are all zero stay zero and get gradient 0.

    Args:
      student_features: [batch, D].
      teacher_features: [batch, D]; no gradient reaches it.
      reduction: "mean" or "sum" over D. The equation has the sum, up to 2 sqrt(D); but only with
        the mean is the thesis's weight beta = 100 of the order of the other terms.

    Returns:
      [batch].

    Raises:
      ValueError: shapes that differ or are not [batch, D], or an unknown `reduction`.

    Example:
      >>> normalized_l1(jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 0.0]]), "sum").round(3)
      Array([1.2], dtype=float32)

    Source: thesis equation 3.10.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    student, teacher = student_and_teacher("features", student_features, teacher_features)
    distance = jnp.abs(unit_length(student) - unit_length(teacher))
    return jnp.mean(distance, axis=-1) if reduction == "mean" else jnp.sum(distance, axis=-1)


def unit_length(features: jax.Array) -> jax.Array:
    """Scales each row to Euclidean length 1; a row of zeros stays as it is, with gradient 0."""
    squared = jnp.sum(jnp.square(features), axis=-1, keepdims=True)
    nonzero = squared > 0
    # The square root has no derivative at 0; a NaN there would outlive the selection below.
    norm = jnp.sqrt(jnp.where(nonzero, squared, 1.0))
    return jnp.where(nonzero, features / jnp.maximum(norm, _SMALLEST_NORM), 0.0)
