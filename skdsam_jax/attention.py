"""Attention over the exits of a network: how much each shallow exit counts for each image.

The library's losses build on this module.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import as_exits, as_matrix, check_choice, check_temperature, widen

__all__ = ["ENERGIES", "attention_weights", "soften"]

ENERGIES = ("softmax_dot", "dot", "scaled_dot", "uniform")
"""The values `energy` takes, see `attention_weights`; the first is the thesis's own."""


def soften(logits: jax.Array, temperature: ArrayLike) -> jax.Array:
    """Softmax at a temperature: the larger it is, the closer the result is to uniform.

    Equation: soft(z)_j = exp(z_j / T) / sum_m exp(z_m / T)

    Args:
      logits: z, [..., classes].
      temperature: T > 0.

    Returns:
      Probabilities over the last axis, in the shape of `logits`, float32 or wider.

    Raises:
      ValueError: `logits` is a scalar, or `temperature` is not positive.

    Example:
      >>> soften(jnp.array([2.0, 0.0]), 2.0).round(3)
      Array([0.731, 0.269], dtype=float32)

    Source: thesis equations 1.1, 2.1, 3.4 and 3.5; Hinton et al. 2015, arXiv:1503.02531.
    """
    check_temperature("temperature", temperature)
    logits = widen(logits)
    if logits.ndim == 0:
        raise ValueError("logits: takes [..., classes], not a scalar")
    return jax.nn.softmax(logits / temperature, axis=-1)


def attention_weights(
    query: jax.Array,
    keys: Sequence[jax.Array],
    temperature: ArrayLike = 4.0,
    energy: str = "softmax_dot",
) -> jax.Array:
    """The weight of each shallow exit for each example: a softmax over exits of their energies.

    Equation: a_i = exp(e_i) / sum_j exp(e_j), where i and j run over the C - 1 shallow exits and
    the energy e_i compares the query q with the key k_i:

    * "softmax_dot": e_i = soft(q) . soft(k_i), where soft is `soften` at temperature T'. This is
      the thesis, literally.
    * "dot": e_i = q . k_i / T'
    * "scaled_dot": e_i = q . k_i / sqrt(D)
    * "uniform": e_i = 0, so a_i = 1 / (C - 1). This is the ablation without self-attention; of
      query and keys only the shapes matter.

    The literal "softmax_dot" stays near uniform. The dot product of two distributions lies between
    0 and 1, so with three shallow exits no weight can leave [1 / (1 + 2e), e / (2 + e)] = [0.155,
    0.576]. With D = 512, T' = 4 and projections of unit variance the weights stay within about
    6e-6 of 1/3, and the projections get so little gradient that weight decay alone decides their
    size. It therefore trains as "uniform" does; to see it in a run, look at the entropy of the
    weights.

    Args:
      query: q, the projected features of the deepest exit, [batch, D].
      keys: k_i, the projected features of the shallow exits, shallow to deep, each [batch, D].
      temperature: T' > 0; "scaled_dot" and "uniform" make no use of it.
      energy: one of `ENERGIES`.

    Returns:
      Weights [C - 1, batch], float32 or wider; they sum to 1 over the exits.

    Raises:
      ValueError: no keys, shapes that differ or are not [batch, D], `temperature` not positive, or
        an unknown `energy`.

    Example:
      >>> attention_weights(jnp.ones((1, 4)), jnp.ones((2, 1, 4)))
      Array([[0.5], [0.5]], dtype=float32)

    Source: thesis equations 3.5 to 3.7.
    """
    check_temperature("temperature", temperature)
    check_choice("energy", energy, ENERGIES)
    query = as_matrix("query", query)
    keys = as_exits("keys", keys, minimum=1)
    if keys[0].shape != query.shape:
        raise ValueError(
            f"keys: each must have the query's shape {query.shape}, not {keys[0].shape}"
        )
    energies = _energies(query, jnp.stack(keys), temperature, energy)
    return jax.nn.softmax(energies, axis=0)


def _energies(query: jax.Array, keys: jax.Array, temperature: ArrayLike, energy: str) -> jax.Array:
    """The energies [C - 1, batch] of a query [batch, D] and keys [C - 1, batch, D]."""
    if energy == "uniform":
        return jnp.zeros(keys.shape[:2], keys.dtype)
    scale = 1.0
    if energy == "softmax_dot":
        query, keys = soften(query, temperature), soften(keys, temperature)
    elif energy == "dot":
        scale = temperature
    else:
        scale = math.sqrt(query.shape[1])
    # A sum of products, because matrix products round to fewer digits on accelerators.
    return jnp.sum(query[None] * keys, axis=-1) / scale
