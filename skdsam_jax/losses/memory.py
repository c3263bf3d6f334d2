"""Losses that compare predictions with what the same network said earlier.

What is remembered gets no gradient. Whether there is anything to remember yet may be traced: a
weight of 0 gives the loss without memory, so that one compiled step serves a run's first step too.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from skdsam_jax.arguments import (
    as_matrix,
    check_fraction,
    label_probabilities,
    matrix_like,
    one_hot_labels,
    widen,
)
from skdsam_jax.losses.divergences import distillation_kl
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.result import Loss


def initial_memory(labels: jax.Array, classes: int, dtype: DTypeLike = jnp.float32) -> jax.Array:
    """PS-KD's memory before the first epoch: the labels, which make that epoch plain cross-entropy.

    After a step, `memory.at[indices].set(soften(logits, 1.0))` writes the predictions that gave the
    step's loss.

    Args:
      labels: of the whole training set, integers [examples].
      classes: their number.
      dtype: of the memory; it takes examples x classes numbers.

    Returns:
      [examples, classes], one-hot.

    Raises:
      ValueError: labels that are not integers [examples].

    Example:
      >>> initial_memory(jnp.array([1, 0]), 2)
      Array([[0., 1.],
             [1., 0.]], dtype=float32)

    Source: as `ps_kd_loss`; the official code overwrites an empty memory in the first epoch, which
    is the same.
    """
    labels = jnp.asarray(labels)
    return one_hot_labels(labels, jax.ShapeDtypeStruct((*labels.shape[:1], classes), dtype))


def ps_kd_loss(
    logits: jax.Array, labels: jax.Array, past_probabilities: jax.Array, *, alpha: ArrayLike
) -> Loss:
    """PS-KD, progressive self-distillation: targets mix the label and the last epoch's prediction.

    Equation: L = (1 - alpha) CE(z, y) - alpha sum_j m_j log softmax(z)_j; averaged over the batch.
    It equals the cross-entropy against (1 - alpha) y + alpha m.

    Args:
      logits: z, [batch, classes].
      labels: y, integers [batch]; mixed labels have no past prediction.
      past_probabilities: m, [batch, classes], what the network said about these examples an epoch
        ago: rows of the memory.
      alpha: from 0 to 1, see `ps_kd_alpha`.

    Returns:
      The scalar and its terms "cross_entropy" and "past", both [batch].

    Raises:
      ValueError: shapes that do not fit, labels that are not integers, or `alpha` outside [0, 1].

    Example:
      >>> past = jnp.array([[0.25, 0.75]])
      >>> ps_kd_loss(jnp.zeros((1, 2)), jnp.array([0]), past, alpha=0.5)[0].round(3)
      Array(0.693, dtype=float32)

    Source: Kim et al., ICCV 2021, arXiv:2006.12000, and its official code. The predictions are of
    the training forward pass one epoch ago, not of a model at that epoch's end.
    """
    check_fraction("alpha", alpha)
    logits = as_matrix("logits", logits)
    past = matrix_like("past_probabilities", past_probabilities, "logits", logits)
    ce = cross_entropy(logits, one_hot_labels(labels, logits))
    past = cross_entropy(logits, jax.lax.stop_gradient(past))
    return jnp.mean((1 - alpha) * ce + alpha * past), {"cross_entropy": ce, "past": past}


def dlb_loss(
    logits: jax.Array,
    labels: jax.Array,
    replay_logits: jax.Array | None = None,
    replay_labels: jax.Array | None = None,
    replay_teacher_logits: jax.Array | None = None,
    *,
    weight: ArrayLike = 0.5,
    temperature: ArrayLike = 3.0,
    replay_weight: ArrayLike | None = None,
) -> Loss:
    """DLB, distillation from the last mini-batch: its images are read once more.

    Equation: L = mean over the images of both batches of CE
    + w T^2 mean over the replayed images of KL(softmax(z' / T) || softmax(r / T))

    r are today's logits of the last batch's images under a new augmentation, z' those of the step
    before. Without replay L is the mean of CE(z, y).

    Args:
      logits: z, [batch, classes].
      labels: y, integers [batch] or probabilities [batch, classes].
      replay_logits: r, [batch', classes], of the last batch's images; None in the first step.
      replay_labels: their labels, integers [batch'] or probabilities [batch', classes].
      replay_teacher_logits: z', [batch', classes]; no gradient reaches it.
      weight: w.
      temperature: T > 0.
      replay_weight: how much each replayed image counts in both means, a number or [batch'], for
        example 1 or 0; None counts all. With 0 everywhere the loss is the one without replay, and
        `replay_logits` get no gradient: this is the first step of a compiled training step.

    Returns:
      The scalar and its terms: "cross_entropy" [batch' + batch], the replayed images first, and
      "kl" [batch'] (without T^2). Images that do not count have terms 0. Without replay
      "cross_entropy" [batch] alone.

    Raises:
      ValueError: some but not all of the three replayed arrays, shapes that do not fit, or
        `temperature` not positive.

    Example:
      >>> logits, labels = jnp.zeros((2, 4)), jnp.array([0, 3])
      >>> dlb_loss(logits, labels, logits, labels, logits)[0].round(3)
      Array(1.386, dtype=float32)

    Source: Shen et al., CVPR 2022, arXiv:2203.16172, and its official code, whose options have no
    defaults; T = 3 and w = 0.5 are read from the default name of an experiment.
    """
    logits = as_matrix("logits", logits)
    ce = cross_entropy(logits, labels)
    replay = {
        "replay_logits": replay_logits,
        "replay_labels": replay_labels,
        "replay_teacher_logits": replay_teacher_logits,
    }
    missing = [name for name, array in replay.items() if array is None]
    if len(missing) == len(replay):
        return jnp.mean(ce), {"cross_entropy": ce}
    if missing:
        raise ValueError(f"{missing[0]}: must be given with the other replayed arrays")
    replayed = as_matrix("replay_logits", replay_logits)
    if replayed.shape[1] != logits.shape[1]:
        raise ValueError(f"replay_logits: {replayed.shape[1]} classes, not {logits.shape[1]}")
    replayed = replayed.astype(logits.dtype)
    teacher = matrix_like("replay_teacher_logits", replay_teacher_logits, "replay_logits", replayed)
    try:
        replay_labels = label_probabilities(replay_labels, replayed)
    except ValueError as error:
        raise ValueError(f"replay_{error}") from None
    counts = _replay_counts(1.0 if replay_weight is None else replay_weight, replayed)

    def counting(array: jax.Array) -> jax.Array:
        # A choice, not a product: what does not count may be anything, and gives terms of 0.
        return jnp.where(counts[:, None] > 0, array, 0.0)

    replayed, replay_labels, teacher = map(counting, (replayed, replay_labels, teacher))
    replay_ce = cross_entropy(replayed, replay_labels)
    kl = distillation_kl(replayed, teacher, temperature)
    counted = jnp.sum(counts)
    both = (jnp.sum(counts * replay_ce) + jnp.sum(ce)) / (counted + len(ce))
    divergence = jnp.sum(counts * kl) / jnp.where(counted > 0, counted, 1.0)
    terms = {"cross_entropy": jnp.concatenate([replay_ce, ce]), "kl": kl}
    return both + weight * temperature**2 * divergence, terms


def lightskd_loss(
    logits: jax.Array,
    branch_logits: jax.Array | None,
    labels: jax.Array,
    previous_logits: jax.Array | None = None,
    *,
    guidance_weight: ArrayLike = 0.2,
    shape_weight: ArrayLike = 1.0,
    temperature: ArrayLike = 4.0,
) -> Loss:
    """LightSKD: a shallow branch guides the network (DRG), and the last batch its shape (DSR).

    Equation: L = CE(z, y) + CE(b, y) + alpha T^2 KL(soft(b) || soft(z))
    + beta T^2 KL(soft(sort(z')) || soft(sort(z))), where soft is softmax at T; averaged over the
    batch

    sort orders each example's logits by size. Example i is compared with example i of the last
    batch, whatever its class. In the divergences b and z' get no gradient.

    Args:
      logits: z, [batch, classes].
      branch_logits: b, [batch, classes], of one shallow branch; None leaves out the terms of DRG.
      labels: y, integers [batch] or probabilities [batch, classes].
      previous_logits: z', [batch, classes], of the last step, by the same example of the batch;
        None leaves out the term of DSR.
      guidance_weight: alpha.
      shape_weight: beta; 0, where an epoch begins, equals leaving out `previous_logits` as long as
        these are finite.
      temperature: T > 0.

    Returns:
      The scalar and its terms, all [batch]: "cross_entropy"; with `branch_logits`
      "branch_cross_entropy" and "guidance"; with `previous_logits` "shape"; all without T^2.

    Raises:
      ValueError: shapes that do not fit, or `temperature` not positive.

    Example:
      >>> z, b = jnp.array([[2.0, 0.0]]), jnp.zeros((1, 2))
      >>> sorted(lightskd_loss(z, b, jnp.array([0]), z[:, ::-1])[1])
      ['branch_cross_entropy', 'cross_entropy', 'guidance', 'shape']

    Source: Xu et al. 2023, and the train.py of its official code, without the constant 100 which
    that adds to the loss. T is fixed at 4 there.
    """
    logits = as_matrix("logits", logits)
    ce = cross_entropy(logits, labels)
    examples, terms = ce, {"cross_entropy": ce}
    if branch_logits is not None:
        branch = matrix_like("branch_logits", branch_logits, "logits", logits)
        branch_ce = cross_entropy(branch, labels)
        guidance = distillation_kl(logits, branch, temperature)
        examples = examples + branch_ce + guidance_weight * temperature**2 * guidance
        terms |= {"branch_cross_entropy": branch_ce, "guidance": guidance}
    if previous_logits is not None:
        previous = matrix_like("previous_logits", previous_logits, "logits", logits)
        shape = distillation_kl(jnp.sort(logits, axis=-1), jnp.sort(previous, axis=-1), temperature)
        examples = examples + shape_weight * temperature**2 * shape
        terms["shape"] = shape
    return jnp.mean(examples), terms


def _replay_counts(replay_weight: ArrayLike, replayed: jax.Array) -> jax.Array:
    """`replay_weight` for each replayed image, in the type of its logits."""
    counts = widen(replay_weight)
    if counts.shape not in ((), replayed.shape[:1]):
        raise ValueError(
            f"replay_weight: takes a number or shape {replayed.shape[:1]}, not {counts.shape}"
        )
    return jnp.broadcast_to(counts.astype(replayed.dtype), replayed.shape[:1])
