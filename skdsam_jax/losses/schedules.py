"""Weights that change while a network trains; step and epoch may be traced."""

import math
import numbers

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import check_fraction


def cosine_weight(step: ArrayLike, steps: int, start: ArrayLike, end: ArrayLike = 0.0) -> jax.Array:
    """Half a period of a cosine from `start` to `end`.

    Equation: end + (start - end) (1 + cos(pi step / steps)) / 2

    Args:
      step: from 0, any shape.
      steps: all steps of the run, 1 or more.
      start: the value at step 0.
      end: the value at step `steps`.

    Returns:
      The weight, in the shape of `step` and JAX's default float type.

    Raises:
      ValueError: `steps` not positive.

    Example:
      >>> cosine_weight(jnp.array([0, 5, 10]), 10, 4.0)
      Array([4., 2., 0.], dtype=float32)

    Source: beta of MSD, Luan et al. 2019, arXiv:1911.09418, which says no more than "cosine";
    that it ends at 0 is a choice.
    """
    _check_count("steps", steps)
    progress = jnp.asarray(step, float) / steps
    return end + (start - end) * (1 + jnp.cos(math.pi * progress)) / 2


def linear_warm_up(step: ArrayLike, steps: int, share: ArrayLike) -> jax.Array:
    """A factor that grows linearly over the first part of a run, and is 1 from then on.

    Equation: min(1, (step + 1) / (share steps))

    Args:
      step: from 0, any shape.
      steps: all steps of the run, 1 or more.
      share: of the run, above 0 and at most 1, after which the factor is 1.

    Returns:
      The factor, in the shape of `step` and JAX's default float type.

    Raises:
      ValueError: `steps` not positive, or `share` not above 0 and at most 1.

    Example:
      >>> linear_warm_up(jnp.array([0, 1, 4, 9]), 10, 0.4)
      Array([0.25, 0.5 , 1.  , 1.  ], dtype=float32)
    """
    _check_count("steps", steps)
    check_fraction("share", share)
    if isinstance(share, numbers.Real) and share == 0:
        raise ValueError("share: takes a number above 0, not 0")
    return jnp.minimum(1.0, (jnp.asarray(step, float) + 1) / (share * steps))


def ps_kd_alpha(epoch: ArrayLike, epochs: int, final: ArrayLike = 0.8) -> jax.Array:
    """The share of past predictions in PS-KD's targets; it grows linearly with the epoch.

    Equation: alpha = final (epoch + 1) / epochs

    Args:
      epoch: from 0, any shape.
      epochs: all epochs of the run, 1 or more.
      final: the value in the last epoch, from 0 to 1.

    Returns:
      alpha, in the shape of `epoch` and JAX's default float type.

    Raises:
      ValueError: `epochs` not positive, or `final` outside [0, 1].

    Example:
      >>> ps_kd_alpha(jnp.array([0, 9]), 10)
      Array([0.08, 0.8 ], dtype=float32)

    Source: as `ps_kd_loss`.
    """
    _check_count("epochs", epochs)
    check_fraction("final", final)
    return final * ((jnp.asarray(epoch, float) + 1) / epochs)


def _check_count(name: str, count: ArrayLike) -> None:
    if isinstance(count, numbers.Real) and count < 1:
        raise ValueError(f"{name}: takes 1 or more, not {count}")
