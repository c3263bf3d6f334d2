"""Losses of two or more looks at an image, or at images of one class."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import (
    as_matrix,
    check_batch,
    check_choice,
    check_temperature,
    label_probabilities,
    matrix_like,
)
from skdsam_jax.losses.divergences import distillation_kl
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.result import Loss

FEATURE_STATISTICS = ("mean_vector", "grand_mean")
"""The values `feature_statistic` takes, see `ddgsd_loss`."""

_TURNS = 4


def cs_kd_loss(
    logits: jax.Array,
    partner_logits: jax.Array,
    labels: jax.Array,
    *,
    weight: ArrayLike = 1.0,
    temperature: ArrayLike = 4.0,
) -> Loss:
    """CS-KD, class-wise self-distillation: an image learns from another one of its class.

    Equation: L = CE(z, y) + lambda T^2 KL(softmax(z' / T) || softmax(z / T)); averaged over the
    batch

    Only the anchor z has a cross-entropy, and only it gets a gradient.

    Args:
      logits: z, [batch, classes].
      partner_logits: z', [batch, classes], of other images of the same classes.
      labels: y, integers [batch] or probabilities [batch, classes]; finding partners needs classes.
      weight: lambda; the official readme has 1 for CIFAR-100 and 3 for fine-grained images.
      temperature: T > 0.

    Returns:
      The scalar and its terms "cross_entropy" and "kl" (without T^2), both [batch].

    Raises:
      ValueError: shapes that do not fit, or `temperature` not positive.

    Example:
      >>> logits = jnp.zeros((2, 4))
      >>> cs_kd_loss(logits, logits, jnp.array([0, 3]))[0].round(3)
      Array(1.386, dtype=float32)

    Source: Yun et al., CVPR 2020, arXiv:2003.13964; alinlab/cs-kd.
    """
    logits = as_matrix("logits", logits)
    partner_logits = matrix_like("partner_logits", partner_logits, "logits", logits)
    ce = cross_entropy(logits, labels)
    kl = distillation_kl(logits, partner_logits, temperature)
    return jnp.mean(ce + weight * temperature**2 * kl), {"cross_entropy": ce, "kl": kl}


def ddgsd_loss(
    logits: jax.Array,
    other_logits: jax.Array,
    features: jax.Array,
    other_features: jax.Array,
    labels: jax.Array,
    *,
    cross_entropy_weight: ArrayLike = 1.0,
    distillation_weight: ArrayLike = 1.0,
    feature_weight: ArrayLike = 5e-4,
    temperature: ArrayLike = 3.0,
    feature_statistic: str = "mean_vector",
) -> Loss:
    """DDGSD, data-distortion guided self-distillation: two views of an image teach each other.

    Equation: L = w (CE(z^a, y) + CE(z^b, y)) / 2
    + lambda T^2 (KL(q^b || q^a) + KL(q^a || q^b)) + mu M, where q^v = softmax(z^v / T) and the
    first of a divergence gets no gradient; averaged over the batch. M compares the batches:

    * "mean_vector": || mean_b f^a_b - mean_b f^b_b ||_2^2, the maximum mean discrepancy with a
      linear kernel
    * "grand_mean": (mean_{b,d} f^a_bd - mean_{b,d} f^b_bd)^2

    M couples the examples of a batch: on several devices its means must be those of the global
    batch. Its gradient reaches both views.

    Args:
      logits: z^a, [batch, classes].
      other_logits: z^b, [batch, classes], of the same images under another augmentation.
      features: f^a, [batch, D].
      other_features: f^b, [batch, D].
      labels: y, integers [batch] or probabilities [batch, classes].
      cross_entropy_weight: w.
      distillation_weight: lambda.
      feature_weight: mu; at 5e-4 M is negligible.
      temperature: T > 0.
      feature_statistic: one of `FEATURE_STATISTICS`.

    Returns:
      The scalar and its terms: "cross_entropy" and "kl" (without T^2), both [2, batch], row 0 of
      "kl" being student a with teacher b, and "feature" [batch], which repeats M.

    Raises:
      ValueError: shapes that do not fit, `temperature` not positive, or an unknown
        `feature_statistic`.

    Example:
      >>> logits, features = jnp.zeros((2, 4)), jnp.ones((2, 3))
      >>> ddgsd_loss(logits, logits, features, features, jnp.array([0, 3]))[0].round(3)
      Array(1.386, dtype=float32)

    Source: Xu and Liu, AAAI 2019. There is no official code. lambda, mu and T are the paper's as
    youngerous/ddgsd-pytorch reports them; T^2 and the stopped gradient are the field's. That code
    adds both cross-entropies, stops no gradient, divides its divergence by the number of classes
    and compares logits, not features. winycg/Self-KD-Lib has w = 0.5, T = 4 and "grand_mean".
    """
    check_choice("feature_statistic", feature_statistic, FEATURE_STATISTICS)
    logits = as_matrix("logits", logits)
    other_logits = matrix_like("other_logits", other_logits, "logits", logits)
    features = as_matrix("features", features)
    other_features = matrix_like("other_features", other_features, "features", features)
    check_batch("features", features, "logits", logits)
    ce = jnp.stack([cross_entropy(logits, labels), cross_entropy(other_logits, labels)])
    kl = jnp.stack(
        [
            distillation_kl(logits, other_logits, temperature),
            distillation_kl(other_logits, logits, temperature),
        ]
    )
    axis = 0 if feature_statistic == "mean_vector" else None
    difference = jnp.mean(features, axis=axis) - jnp.mean(other_features, axis=axis)
    discrepancy = jnp.sum(jnp.square(difference))
    examples = cross_entropy_weight * jnp.mean(ce, axis=0)
    examples += distillation_weight * temperature**2 * jnp.sum(kl, axis=0)
    terms = {
        "cross_entropy": ce,
        "kl": kl,
        "feature": jnp.broadcast_to(discrepancy, logits.shape[:1]),
    }
    return jnp.mean(examples) + feature_weight * discrepancy, terms


def aggregate_rotations(joint_logits: jax.Array) -> jax.Array:
    """The mean over rotations of what a joint classifier says about a rotated image's class.

    Equation: agg_b[y] = 1/4 sum_r joint_{b,r}[4 y + r]

    Args:
      joint_logits: [4 batch, 4 classes]; the four rotations r of an image lie side by side, and
        label 4 y + r is class y under rotation r.

    Returns:
      [batch, classes].

    Raises:
      ValueError: a shape that is not [4 batch, 4 classes].

    Example:
      >>> aggregate_rotations(jnp.eye(4, 8))
      Array([[1., 0.]], dtype=float32)

    Source: as `sla_sd_loss`.
    """
    joint_logits = as_matrix("joint_logits", joint_logits)
    rows, columns = joint_logits.shape
    if rows % _TURNS or columns % _TURNS:
        raise ValueError(f"joint_logits: takes [4 batch, 4 classes], not {joint_logits.shape}")
    joint_logits = joint_logits.reshape(rows // _TURNS, _TURNS, columns // _TURNS, _TURNS)
    return jnp.trace(joint_logits, axis1=1, axis2=3) / _TURNS


def sla_sd_loss(
    joint_logits: jax.Array,
    logits: jax.Array,
    labels: jax.Array,
    *,
    aggregation_temperature: ArrayLike = 1.0,
) -> Loss:
    """SLA+SD, label augmentation by rotations with self-distillation of their aggregate.

    Equation: L = CE(z, y) + 1/4 sum_r CE(joint_r, 4 y + r) + T^2 KL(softmax(agg / T) ||
    softmax(z / T)), agg = `aggregate_rotations`; averaged over the batch

    Args:
      joint_logits: [4 batch, 4 classes], the four rotations of an image side by side.
      logits: z, [batch, classes], of the upright images.
      labels: y, integers [batch] or probabilities [batch, classes].
      aggregation_temperature: T > 0.

    Returns:
      The scalar and its terms, all [batch]: "cross_entropy", "joint_cross_entropy" (the mean over
      rotations) and "aggregation_kl" (without T^2).

    Raises:
      ValueError: shapes that do not fit, or `aggregation_temperature` not positive.

    Example:
      >>> sla_sd_loss(jnp.zeros((4, 8)), jnp.zeros((1, 2)), jnp.array([1]))[0].round(3)
      Array(2.773, dtype=float32)

    Source: Lee et al., ICML 2020, arXiv:1910.05872; hankook/SLA, which offers other transformations
    too and a weight for the joint term.
    """
    check_temperature("aggregation_temperature", aggregation_temperature)
    logits = as_matrix("logits", logits)
    joint_logits = as_matrix("joint_logits", joint_logits)
    batch, classes = logits.shape
    if joint_logits.shape != (_TURNS * batch, _TURNS * classes):
        raise ValueError(
            f"joint_logits: shape {joint_logits.shape} is not "
            f"{(_TURNS * batch, _TURNS * classes)}, four times the shape of logits"
        )
    # [batch, rotation, class, slot]: the slot of a rotated image is its rotation.
    joint_labels = (
        label_probabilities(labels, logits)[:, None, :, None]
        * jnp.eye(_TURNS, dtype=logits.dtype)[None, :, None, :]
    ).reshape(joint_logits.shape)
    ce = cross_entropy(logits, labels)
    joint = cross_entropy(joint_logits, joint_labels).reshape(batch, _TURNS).mean(axis=1)
    kl = distillation_kl(logits, aggregate_rotations(joint_logits), aggregation_temperature)
    terms = {"cross_entropy": ce, "joint_cross_entropy": joint, "aggregation_kl": kl}
    return jnp.mean(ce + joint + aggregation_temperature**2 * kl), terms
