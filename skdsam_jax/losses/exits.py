"""Losses of networks whose deepest exit teaches the shallow ones."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import as_exits, check_choice, check_temperature, exits_like
from skdsam_jax.attention import ENERGIES, attention_weights
from skdsam_jax.losses.divergences import distillation_kl
from skdsam_jax.losses.features import REDUCTIONS, normalized_l1, squared_l2
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.result import Loss


def byot_loss(
    logits: Sequence[jax.Array],
    features: Sequence[jax.Array],
    labels: jax.Array,
    *,
    alpha: ArrayLike = 0.3,
    feature_weight: ArrayLike = 1e-4,
    temperature: ArrayLike = 3.0,
) -> Loss:
    """BYOT, "Be Your Own Teacher": every shallow exit learns from the labels and the deepest exit.

    Equation: L = sum_{i=1..C} (1 - alpha) CE(z^i, y) + alpha KL(q^C || q^i)
    + lambda ||F_i - F_C||_2^2, where q^i = softmax(z^i / T); averaged over the batch

    For the deepest exit, i = C, only the cross-entropy is not zero; read literally, its weight is
    1 - alpha too. There is no factor T^2.

    Args:
      logits: z^i, C >= 2 arrays [batch, classes], shallow to deep.
      features: F_i, C arrays [batch, D].
      labels: y, integers [batch] or probabilities [batch, classes].
      alpha: the share of the teacher against the labels.
      feature_weight: lambda.
      temperature: T > 0.

    Returns:
      The scalar and its terms: "cross_entropy" [C, batch], "kl" and "feature" [C - 1, batch].

    Raises:
      ValueError: fewer than two exits, sequences of different lengths, shapes that do not fit, or
        `temperature` not positive.

    Example:
      >>> exits = jnp.zeros((2, 1, 4))
      >>> byot_loss(exits, exits, jnp.array([3]), alpha=0.5)[0].round(3)
      Array(1.386, dtype=float32)

    Source: thesis equation 2.5; Zhang et al., ICCV 2019, arXiv:1905.08094.
    """
    return pd_byot_loss(
        logits,
        features,
        labels,
        alpha=alpha,
        feature_weight=feature_weight,
        temperature=temperature,
        decay_ce=1.0,
        decay_kl=1.0,
        decay_feature=1.0,
    )


def pd_byot_loss(
    logits: Sequence[jax.Array],
    features: Sequence[jax.Array],
    labels: jax.Array,
    *,
    alpha: ArrayLike = 0.3,
    feature_weight: ArrayLike = 1e-4,
    temperature: ArrayLike = 3.0,
    decay_ce: ArrayLike = 0.6,
    decay_kl: ArrayLike = 1.1,
    decay_feature: ArrayLike = 1.0,
) -> Loss:
    """PD-BYOT, BYOT with per-block decay: the terms of an exit fade with its distance to the end.

    Equation: L = (1 - alpha) sum_{i=1..C} d_CE^(C-i) CE(z^i, y)
    + alpha sum_{i=1..C} d_KL^(C-i) KL(q^C || q^i)
    + lambda sum_{i=1..C} d_feature^(C-i) ||F_i - F_C||_2^2; averaged over the batch

    Args:
      logits: z^i, C >= 2 arrays [batch, classes], shallow to deep.
      features: F_i, C arrays [batch, D].
      labels: y, integers [batch] or probabilities [batch, classes].
      alpha: the share of the teacher against the labels.
      feature_weight: lambda.
      temperature: T > 0.
      decay_ce: d_CE; the deepest exit's factor is d^0 = 1, a value above 1 favours shallow exits.
      decay_kl: d_KL.
      decay_feature: d_feature.

    Returns:
      The scalar and its terms: "cross_entropy" [C, batch], "kl" and "feature" [C - 1, batch], none
      of them decayed.

    Raises:
      ValueError: fewer than two exits, sequences of different lengths, shapes that do not fit, or
        `temperature` not positive.

    Example:
      >>> exits = jnp.zeros((2, 1, 4))
      >>> pd_byot_loss(exits, exits, jnp.array([3]), alpha=0.5)[0].round(3)
      Array(1.109, dtype=float32)

    Source: thesis equations 2.6 to 2.9.
    """
    logits = as_exits("logits", logits, minimum=2)
    features = exits_like(logits, "features", features)
    terms = {
        "cross_entropy": jnp.stack([cross_entropy(z, labels) for z in logits]),
        "kl": jnp.stack([distillation_kl(z, logits[-1], temperature) for z in logits[:-1]]),
        "feature": jnp.stack([squared_l2(f, features[-1]) for f in features[:-1]]),
    }
    # The terms of the deepest exit that are always zero are absent, so count from the shallow end.
    depth = len(logits) - 1

    def decayed(name: str, decay: ArrayLike) -> jax.Array:
        return sum(decay ** (depth - i) * term for i, term in enumerate(terms[name]))

    loss = (
        (1 - alpha) * decayed("cross_entropy", decay_ce)
        + alpha * decayed("kl", decay_kl)
        + feature_weight * decayed("feature", decay_feature)
    )
    return jnp.mean(loss), terms


def skdsam_loss(
    logits: Sequence[jax.Array],
    features: Sequence[jax.Array],
    projections: Sequence[jax.Array] | None,
    labels: jax.Array,
    *,
    distillation_weight: ArrayLike = 1.5,
    feature_weight: ArrayLike = 100.0,
    temperature: ArrayLike = 4.0,
    attention_temperature: ArrayLike = 4.0,
    energy: str = "softmax_dot",
    feature_reduction: str = "mean",
    label_weight: ArrayLike | None = None,
) -> Loss:
    """SKDSAM: labels teach the deepest exit, which teaches the shallow ones, weighed by attention.

    Equation: L = CE(z^C, y) + lambda sum_{i=1..C-1} a_i (T^2 KL(q^C || q^i)
    + beta || F_i / ||F_i||_2 - F_C / ||F_C||_2 ||_1), where q^i = softmax(z^i / T) and a_i are the
    `attention_weights` of query p_C and keys p_1 ... p_{C-1}; averaged over the batch. With
    `label_weight` the labels teach the shallow exits too: + mu sum_{i=1..C-1} CE(z^i, y)

    The gradient passes through a_i into the projections; whether it goes on into the features that
    were projected is for the caller to decide. It raises the weights of exits with a small loss.

    Args:
      logits: z^i, C >= 2 arrays [batch, classes], shallow to deep.
      features: F_i, C arrays [batch, D].
      projections: p_i, C arrays [batch, P]: the features after their projections, the deepest one
        being the query. May be None if `energy` is "uniform".
      labels: y, integers [batch] or probabilities [batch, classes].
      distillation_weight: lambda.
      feature_weight: beta; 100 suits the mean over D.
      temperature: T > 0, for the logits.
      attention_temperature: T' > 0, for the projections.
      energy: one of `skdsam_jax.attention.ENERGIES`, see `attention_weights`.
      feature_reduction: "mean" or "sum" over D, see `normalized_l1`.
      label_weight: mu, no part of the thesis; None: the labels teach the deepest exit alone.

    Returns:
      The scalar and its terms: "cross_entropy" [batch], "kl" (without T^2), "feature" (without
      beta) and "attention", all [C - 1, batch]; with `label_weight` also
      "shallow_cross_entropy" (without mu) [C - 1, batch].

    Raises:
      ValueError: fewer than two exits, sequences of different lengths, shapes that do not fit, a
        temperature that is not positive, an unknown `energy` or `feature_reduction`, or
        projections missing where the energy needs them.

    Example:
      >>> exits = jnp.zeros((3, 1, 4))
      >>> skdsam_loss(exits, exits, exits, jnp.array([3]))[1]["attention"]
      Array([[0.5], [0.5]], dtype=float32)

    Source: thesis equations 3.11 to 3.13.
    """
    check_temperature("attention_temperature", attention_temperature)
    check_choice("energy", energy, ENERGIES)
    check_choice("feature_reduction", feature_reduction, REDUCTIONS)
    logits = as_exits("logits", logits, minimum=2)
    features = exits_like(logits, "features", features)
    if projections is None and energy != "uniform":
        raise ValueError(f"projections: must be given unless energy is 'uniform', not {energy!r}")
    # Of its arguments "uniform" reads the shapes only, and the features have the right ones.
    keys = exits_like(logits, "projections", features if projections is None else projections)
    attention = attention_weights(keys[-1], keys[:-1], attention_temperature, energy)
    ce = cross_entropy(logits[-1], labels)
    kl = jnp.stack([distillation_kl(z, logits[-1], temperature) for z in logits[:-1]])
    feature = jnp.stack([normalized_l1(f, features[-1], feature_reduction) for f in features[:-1]])
    students = jnp.sum(attention * (temperature**2 * kl + feature_weight * feature), axis=0)
    terms = {"cross_entropy": ce, "kl": kl, "feature": feature, "attention": attention}
    loss = ce + distillation_weight * students
    if label_weight is not None:
        shallow = jnp.stack([cross_entropy(z, labels) for z in logits[:-1]])
        terms["shallow_cross_entropy"] = shallow
        loss += label_weight * jnp.sum(shallow, axis=0)
    return jnp.mean(loss), terms
