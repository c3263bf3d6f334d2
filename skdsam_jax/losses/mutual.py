"""Losses of exits and peers that all teach each other."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import as_exits, check_temperature, exits_like, matrix_like
from skdsam_jax.attention import attention_weights
from skdsam_jax.losses.divergences import distillation_kl, kl_of_logs
from skdsam_jax.losses.features import squared_l2
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.result import Loss


def dks_loss(
    logits: Sequence[jax.Array],
    labels: jax.Array,
    *,
    weight: ArrayLike = 1.0,
    temperature: ArrayLike = 1.0,
) -> Loss:
    """DKS, deeply-supervised knowledge synergy: every exit learns from every other exit.

    Equation: L = sum_i CE(z^i, y) + w T^2 sum_i sum_{j != i} KL(q^j || q^i), where
    q^i = softmax(z^i / T) and q^j gets no gradient; averaged over the batch

    Args:
      logits: z^i, C >= 2 arrays [batch, classes], in any order.
      labels: y, integers [batch] or probabilities [batch, classes].
      weight: w.
      temperature: T > 0; 1 is the official code's, 4 (with T^2 = 16) that of winycg/Self-KD-Lib.

    Returns:
      The scalar and its terms "cross_entropy" and "kl" (without T^2), both [C, batch]; row i of
      "kl" is the sum over the exits that teach exit i.

    Raises:
      ValueError: fewer than two exits, shapes that do not fit, or `temperature` not positive.

    Example:
      >>> dks_loss(jnp.zeros((3, 2, 4)), jnp.array([0, 3]))[0].round(3)  # 3 log 4
      Array(4.159, dtype=float32)

    Source: Sun et al., CVPR 2019, arXiv:1906.00675; sundw2014/DKS. That code adds 1e-8 to the
    probabilities, which changes the gradients of confident exits by about 1e-3.
    """
    logits = as_exits("logits", logits, minimum=2)
    ce = jnp.stack([cross_entropy(z, labels) for z in logits])
    kl = _from_all_others(logits, temperature)
    scalar = jnp.mean(jnp.sum(ce + weight * temperature**2 * kl, axis=0))
    return scalar, {"cross_entropy": ce, "kl": kl}


def msd_loss(
    logits: Sequence[jax.Array],
    features: Sequence[jax.Array],
    labels: jax.Array,
    *,
    alpha: ArrayLike = 0.1,
    feature_weight: ArrayLike = 1e-4,
    temperature: ArrayLike = 3.0,
) -> Loss:
    """MSD, multi-self-distillation: exits teach each other, and the deepest one's features all.

    Equation: L = sum_{n=1..N} ((1 - alpha) CE(z^n, y)
    + alpha T^2 / (N - 1) sum_{m != n} KL(q^m || q^n)) + beta sum_{n<N} ||F_n - F_N||_2^2, where
    q^n = softmax(z^n / T), and q^m and F_N get no gradient; averaged over the batch

    Args:
      logits: z^n, N >= 2 arrays [batch, classes], shallow to deep.
      features: F_n, N arrays [batch, D].
      labels: y, integers [batch] or probabilities [batch, classes].
      alpha: the share of the other exits against the labels.
      feature_weight: beta; `cosine_weight` is its schedule.
      temperature: T > 0.

    Returns:
      The scalar and its terms: "cross_entropy" [N, batch], "kl" [N, batch] (divided by N - 1,
      without T^2) and "feature" [N - 1, batch].

    Raises:
      ValueError: fewer than two exits, sequences of different lengths, shapes that do not fit, or
        `temperature` not positive.

    Example:
      >>> exits = jnp.zeros((3, 2, 4))
      >>> msd_loss(exits, exits, jnp.array([0, 3]), alpha=0.5)[0].round(3)
      Array(2.079, dtype=float32)

    Source: Luan et al. 2019, arXiv:1911.09418. There is no public code: this is a transcription.
    Weights, T^2 and stopped gradients are those of the code that its first author published for
    BYOT, whose feature term is summed over the batch; beta is that sum's weight for a batch of 128.
    """
    logits = as_exits("logits", logits, minimum=2)
    features = exits_like(logits, "features", features)
    terms = {
        "cross_entropy": jnp.stack([cross_entropy(z, labels) for z in logits]),
        "kl": _from_all_others(logits, temperature) / (len(logits) - 1),
        "feature": jnp.stack([squared_l2(f, features[-1]) for f in features[:-1]]),
    }
    exits = (1 - alpha) * terms["cross_entropy"] + alpha * temperature**2 * terms["kl"]
    examples = jnp.sum(exits, axis=0) + feature_weight * jnp.sum(terms["feature"], axis=0)
    return jnp.mean(examples), terms


def okddip_loss(
    peer_logits: Sequence[jax.Array],
    leader_logits: jax.Array,
    queries: Sequence[jax.Array],
    keys: Sequence[jax.Array],
    labels: jax.Array,
    *,
    weight: ArrayLike = 1.0,
    temperature: ArrayLike = 3.0,
    stop_gradient: bool = False,
) -> Loss:
    """OKDDip, online distillation with diverse peers: attention over peers, who teach a leader.

    Equation: L = sum_a CE(z^a, y) + CE(z^m, y)
    + w T^2 (sum_a KL(soft(sum_b a_ab z^b) || soft(z^a)) + KL(soft(mean_b z^b) || soft(z^m))), where
    a_ab = softmax_b(q_a . k_b), a peer's own key being among them, and soft is softmax at T;
    averaged over the batch

    Args:
      peer_logits: z^a, A >= 1 arrays [batch, classes].
      leader_logits: z^m, [batch, classes].
      queries: q_a, A arrays [batch, D]: the peers' features after one projection they share.
      keys: k_b, A arrays [batch, D]: the same after another one.
      labels: y, integers [batch] or probabilities [batch, classes].
      weight: w; the code raises it as exp(-5 (1 - min(epoch, 80) / 80)^2).
      temperature: T > 0.
      stop_gradient: whether targets, hence queries and keys, get no gradient. The code stops none.

    Returns:
      The scalar and its terms "cross_entropy" and "kl" (without T^2), both [A + 1, batch], the
      leader last. The attention itself is `attention_weights(q_a, keys, 1.0, "dot")`.

    Raises:
      ValueError: no peers, sequences of different lengths, shapes that do not fit, or `temperature`
        not positive.

    Example:
      >>> peers = jnp.zeros((2, 1, 4))
      >>> okddip_loss(peers, peers[0], peers, peers, jnp.array([3]))[0].round(3)  # 3 log 4
      Array(4.159, dtype=float32)

    Source: Chen et al., AAAI 2020, arXiv:1912.00350; its code adds 1e-7 inside the divergence. The
    survey's equations weigh the peers' predictions, the code their logits.
    """
    check_temperature("temperature", temperature)
    peers = as_exits("peer_logits", peer_logits, minimum=1)
    leader = matrix_like("leader_logits", leader_logits, "peer_logits[0]", peers[0])
    queries = exits_like(peers, "queries", queries)
    keys = exits_like(peers, "keys", keys)
    stacked = jnp.stack(peers)
    attention = jnp.stack([attention_weights(query, keys, 1.0, "dot") for query in queries])
    targets = jnp.sum(attention[..., None] * stacked[None], axis=1)
    targets = jnp.concatenate([targets, jnp.mean(stacked, axis=0, keepdims=True)])
    if stop_gradient:
        targets = jax.lax.stop_gradient(targets)
    students = jnp.concatenate([stacked, leader[None]])
    ce = jnp.stack([cross_entropy(z, labels) for z in students])
    kl = kl_of_logs(
        jax.nn.log_softmax(students / temperature, axis=-1),
        jax.nn.log_softmax(targets / temperature, axis=-1),
    )
    scalar = jnp.mean(jnp.sum(ce + weight * temperature**2 * kl, axis=0))
    return scalar, {"cross_entropy": ce, "kl": kl}


def _from_all_others(logits: Sequence[jax.Array], temperature: ArrayLike) -> jax.Array:
    """For each exit the sum of its divergences from all other exits, [C, batch]."""
    return jnp.stack(
        [
            sum(distillation_kl(z, other, temperature) for j, other in enumerate(logits) if j != i)
            for i, z in enumerate(logits)
        ]
    )
