"""Losses whose targets are made of the whole batch."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import as_matrix, check_batch, check_fraction, check_temperature
from skdsam_jax.attention import soften
from skdsam_jax.losses.divergences import kl_of_logs
from skdsam_jax.losses.features import unit_length
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.result import Loss


def bake_affinity(features: jax.Array) -> jax.Array:
    """How much each image of a batch takes from every other one.

    Equation: A_ij = softmax_{j != i}(f_i . f_j / (||f_i|| ||f_j||)), A_ii = 0

    Args:
      features: f, [batch, D], two or more examples.

    Returns:
      A, [batch, batch]; rows sum to 1. There is no temperature: with 128 images no entry can
      exceed e^2 / (e^2 + 126) = 0.055.

    Raises:
      ValueError: features that are not [batch, D], or a single example.

    Example:
      >>> bake_affinity(jnp.ones((3, 5)))[0]
      Array([0. , 0.5, 0.5], dtype=float32)

    Source: as `bake_targets`.
    """
    features = as_matrix("features", features)
    if len(features) < 2:
        raise ValueError(f"features: takes a batch of 2 or more, not {len(features)}")
    features = unit_length(features)
    # Accelerators round the factors of a matrix product to fewer digits unless told not to.
    cosines = jnp.matmul(features, features.T, precision=jax.lax.Precision.HIGHEST)
    others = ~jnp.eye(len(features), dtype=bool)
    return jax.nn.softmax(jnp.where(others, cosines, -jnp.inf), axis=-1)


def bake_targets(
    features: jax.Array, logits: jax.Array, *, temperature: ArrayLike = 4.0, omega: ArrayLike = 0.5
) -> jax.Array:
    """BAKE's targets: predictions propagated over the batch between similar images, to the end.

    Equation: Q = (1 - omega) (I - omega A)^-1 softmax(z / T), A = `bake_affinity` of the features

    Every row depends on the whole batch: on several devices this must be the global batch, and
    rows that only fill up a batch must be cut off before.

    Args:
      features: f, [batch, D], pooled.
      logits: z, [batch, classes].
      temperature: T > 0.
      omega: the share of the others, from 0 to below 1.

    Returns:
      Q, [batch, classes]; rows sum to 1. No gradient passes.

    Raises:
      ValueError: shapes that do not fit, a single example, `temperature` not positive, or `omega`
        outside [0, 1).

    Example:
      >>> bake_targets(jnp.ones((2, 3)), jnp.array([[9.0, -9.0], [-9.0, 9.0]]), temperature=1.0)[0]
      Array([0.6666667, 0.3333333], dtype=float32)

    Source: Ge et al. 2021, arXiv:2104.13298, and its official code for small images. What
    winycg/Self-KD-Lib calls BAKE sends Q through a second softmax, which makes it uniform.
    """
    check_fraction("omega", omega)
    if isinstance(omega, int | float) and omega == 1:
        raise ValueError("omega: takes a number below 1, not 1")
    logits, features = as_matrix("logits", logits), as_matrix("features", features)
    check_batch("features", features, "logits", logits)
    affinity = bake_affinity(features).astype(logits.dtype)
    identity = jnp.eye(len(logits), dtype=logits.dtype)
    own = soften(logits, temperature)
    targets = (1 - omega) * jnp.linalg.solve(identity - omega * affinity, own)
    return jax.lax.stop_gradient(targets)


def bake_loss(
    logits: jax.Array,
    features: jax.Array,
    labels: jax.Array,
    *,
    weight: ArrayLike = 1.0,
    temperature: ArrayLike = 4.0,
    omega: ArrayLike = 0.5,
) -> Loss:
    """BAKE, batch knowledge ensembling: similar images of a batch make an image's target.

    Equation: L = CE(z, y) + w T^2 KL(Q || softmax(z / T)), Q = `bake_targets`; averaged over the
    batch

    The targets couple the examples of a batch, see `bake_targets`.

    Args:
      logits: z, [batch, classes].
      features: f, [batch, D], pooled; no gradient reaches them.
      labels: y, integers [batch] or probabilities [batch, classes].
      weight: w.
      temperature: T > 0.
      omega: the share of the others, from 0 to below 1; 0.5 for CIFAR-100 and CUB-200, 0.9 for
        Tiny-ImageNet in the official configurations.

    Returns:
      The scalar and its terms "cross_entropy" and "kl" (without T^2), both [batch].

    Raises:
      ValueError: as `bake_targets`, or labels that do not fit.

    Example:
      >>> bake_loss(jnp.zeros((2, 4)), jnp.ones((2, 3)), jnp.array([0, 3]))[0].round(3)
      Array(1.386, dtype=float32)

    Source: as `bake_targets`.
    """
    check_temperature("temperature", temperature)
    logits = as_matrix("logits", logits)
    targets = bake_targets(features, logits, temperature=temperature, omega=omega)
    ce = cross_entropy(logits, labels)
    kl = kl_of_logs(jax.nn.log_softmax(logits / temperature, axis=-1), jnp.log(targets))
    return jnp.mean(ce + weight * temperature**2 * kl), {"cross_entropy": ce, "kl": kl}
