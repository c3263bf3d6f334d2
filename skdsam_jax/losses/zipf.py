"""Zipf's label smoothing: targets by the rank of a class."""

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from skdsam_jax.arguments import as_matrix, matrix_like, one_hot_labels, widen
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.non_targets import log_softmax_of_others, share_of_others
from skdsam_jax.losses.result import Loss


def vote_counts(dense_logits: jax.Array) -> jax.Array:
    """How many positions of a map vote for each class.

    Equation: c_j = #{p: argmax_k z_pk = j}; the first of equals wins

    Args:
      dense_logits: z, [batch, positions, classes]: the classifier at every position of a map.

    Returns:
      c, [batch, classes], float32 or wider; no gradient passes.

    Raises:
      ValueError: another number of axes.

    Example:
      >>> vote_counts(jnp.array([[[1.0, 0.0], [3.0, 2.0], [0.0, 1.0]]]))
      Array([[2., 1.]], dtype=float32)

    Source: as `zipf_loss`.
    """
    dense_logits = widen(dense_logits)
    if dense_logits.ndim != 3:
        raise ValueError(
            f"dense_logits: takes [batch, positions, classes], not shape {dense_logits.shape}"
        )
    votes = jnp.argmax(dense_logits, axis=-1)
    classes = dense_logits.shape[-1]
    return jnp.sum(jax.nn.one_hot(votes, classes, dtype=dense_logits.dtype), axis=1)


def zipf_targets(scores: jax.Array, labels: jax.Array, *, power: ArrayLike = 1.0) -> jax.Array:
    """Targets over the other classes by Zipf's law: a class's share falls with its rank.

    Equation: t_j = r_j^-power / sum_{k != y} r_k^-power for j != y, t_y = 0, where
    r_j = 1 + #{k: c_k > c_j}

    All classes are ranked, the label too: if it leads, the best other class has rank 2. Equal
    scores share the smallest rank.

    Args:
      scores: c, [batch, classes]: `vote_counts`, or logits.
      labels: y, integers [batch].
      power: of the law; 1 is Zipf's.

    Returns:
      t, [batch, classes]; no gradient passes.

    Raises:
      ValueError: shapes that do not fit, or labels that are not integers.

    Example:
      >>> zipf_targets(jnp.array([[3.0, 5.0, 1.0]]), jnp.array([1])).round(2)  # ranks 2, 1, 3
      Array([[0.6, 0. , 0.4]], dtype=float32)

    Source: as `zipf_loss`.
    """
    scores = jax.lax.stop_gradient(as_matrix("scores", scores))
    is_label = one_hot_labels(labels, scores) > 0
    not_above = jax.vmap(lambda row: jnp.searchsorted(jnp.sort(row), row, side="right"))(scores)
    ranks = 1 + (scores.shape[1] - not_above).astype(scores.dtype)
    return share_of_others(ranks**-power, is_label)


def zipf_loss(
    logits: jax.Array,
    labels: jax.Array,
    scores: jax.Array,
    *,
    weight: ArrayLike = 0.1,
    power: ArrayLike = 1.0,
) -> Loss:
    """Zipf's label smoothing: the other classes' probabilities shall fall with their rank.

    Equation: L = CE(z, y) + w KL(t || softmax of z over the classes other than y),
    t = `zipf_targets`; averaged over the batch

    Args:
      logits: z, [batch, classes], two or more classes.
      labels: y, integers [batch].
      scores: what ranks the classes, [batch, classes]: votes or the logits; no gradient.
      weight: w; 0.1 for CIFAR-100, 1 for Tiny-ImageNet in the official code.
      power: see `zipf_targets`.

    Returns:
      The scalar and its terms "cross_entropy" and "kl", both [batch].

    Raises:
      ValueError: shapes that do not fit, or labels that are not integers.

    Example:
      >>> zipf_loss(jnp.zeros((1, 3)), jnp.array([1]), jnp.zeros((1, 3)))[0].round(3)  # log 3
      Array(1.099, dtype=float32)

    Source: Liang et al., ECCV 2022, arXiv:2207.08980; its official PyTorch code, which counts votes
    of the deepest map enlarged twofold. The MegEngine code takes two maps and trains a second
    dense layer.
    """
    logits = as_matrix("logits", logits)
    one_hot = one_hot_labels(labels, logits)
    scores = matrix_like("scores", scores, "logits", logits)
    targets = zipf_targets(scores, labels, power=power)
    ce = cross_entropy(logits, one_hot)
    others = log_softmax_of_others(logits, one_hot > 0)
    kl = jnp.sum(xlogy(targets, targets) - targets * others, axis=-1)
    return jnp.mean(ce + weight * kl), {"cross_entropy": ce, "kl": kl}
