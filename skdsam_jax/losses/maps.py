"""Losses of feature maps: where a stage looks."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import as_maps, as_matrix, check_batch, check_choice, matrix_like
from skdsam_jax.losses.divergences import distillation_kl
from skdsam_jax.losses.features import unit_length
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.result import Loss

CHANNEL_REDUCTIONS = ("mean", "sum")
"""The values `channel_reduction` takes, see `sad_loss`."""

UPSAMPLINGS = ("features", "maps")
"""The values `upsample` takes, see `sad_loss`."""


def frskd_loss(
    logits: jax.Array,
    features: Sequence[jax.Array],
    teacher_logits: jax.Array,
    teacher_features: Sequence[jax.Array],
    labels: jax.Array,
    *,
    distillation_weight: ArrayLike = 2.0,
    feature_weight: ArrayLike = 100.0,
    temperature: ArrayLike = 4.0,
) -> Loss:
    """FRSKD, feature refinement: a self-teacher refines the stages' maps and teaches them.

    Equation: L = CE(z, y) + CE(z^t, y) + alpha T^2 KL(softmax(z^t / T) || softmax(z / T))
    + beta sum_i mean_p (u(F_i)_p - u(F^t_i)_p)^2, averaged over the batch, where
    u(F) = a / ||a||_2, a_p = mean_c F_pc^2 and p runs over the positions of a map

    In divergence and distance the self-teacher gets no gradient; its own cross-entropy trains it,
    and through the maps it reads the backbone too. Norms below 1e-12 count as 1e-12.

    Args:
      logits: z, [batch, classes].
      features: F_i, one map [batch, height, width, channels] for each of S >= 1 stages.
      teacher_logits: z^t, [batch, classes].
      teacher_features: F^t_i, S maps of the same heights and widths; channels may differ.
      labels: y, integers [batch] or probabilities [batch, classes].
      distillation_weight: alpha; the official readme has 2 for CIFAR-100.
      feature_weight: beta; 100 there.
      temperature: T > 0.

    Returns:
      The scalar and its terms: "cross_entropy", "teacher_cross_entropy" and "kl" (without T^2),
      all [batch], and "feature" [S, batch], the mean over positions.

    Raises:
      ValueError: sequences of different lengths, shapes that do not fit, or `temperature` not
        positive.

    Example:
      >>> logits, maps = jnp.zeros((1, 4)), [jnp.ones((1, 2, 2, 3))]
      >>> frskd_loss(logits, maps, logits, maps, jnp.array([3]))[0].round(3)  # 2 log 4
      Array(2.773, dtype=float32)

    Source: Ji et al., CVPR 2021, arXiv:2103.08273; MingiJi/FRSKD, whose script defaults to alpha 1
    and beta 0. winycg/Self-KD-Lib does not stop the teacher's gradient in the divergence.
    """
    logits = as_matrix("logits", logits)
    teacher_logits = matrix_like("teacher_logits", teacher_logits, "logits", logits)
    maps = as_maps("features", features)
    check_batch("features[0]", maps[0], "logits", logits)
    teacher_maps = as_maps("teacher_features", teacher_features)
    if len(teacher_maps) != len(maps):
        raise ValueError(
            f"teacher_features: {len(teacher_maps)} stages, but features has {len(maps)}"
        )
    for i, (student, teacher) in enumerate(zip(maps, teacher_maps, strict=True)):
        if student.shape[:3] != teacher.shape[:3]:
            raise ValueError(
                f"teacher_features[{i}]: batch, height and width {teacher.shape[:3]} are not "
                f"{student.shape[:3]}, those of features[{i}]"
            )
    ce = cross_entropy(logits, labels)
    teacher_ce = cross_entropy(teacher_logits, labels)
    kl = distillation_kl(logits, teacher_logits, temperature)
    feature = jnp.stack(
        [
            jnp.mean(
                jnp.square(_positions(student) - jax.lax.stop_gradient(_positions(teacher))), axis=1
            )
            for student, teacher in zip(maps, teacher_maps, strict=True)
        ]
    )
    examples = ce + teacher_ce + distillation_weight * temperature**2 * kl
    examples += feature_weight * jnp.sum(feature, axis=0)
    return jnp.mean(examples), {
        "cross_entropy": ce,
        "teacher_cross_entropy": teacher_ce,
        "kl": kl,
        "feature": feature,
    }


def sad_loss(
    logits: jax.Array,
    features: Sequence[jax.Array],
    labels: jax.Array,
    *,
    weight: ArrayLike = 1000.0,
    channel_reduction: str = "mean",
    upsample: str = "features",
) -> Loss:
    """SAD, self attention distillation: each stage looks where the next one looks.

    Equation: L = CE(z, y) + w sum_{i<S} mean_p (A(F_i)_p - A(up(F_{i+1}))_p)^2; averaged over the
    batch. A(F) = softmax_p(mean_c F_pc^2) over all positions p, up doubles height and width
    (bilinear, half-pixel centres), and the deeper stage gets no gradient.

    Args:
      logits: z, [batch, classes].
      features: F_i, S >= 2 maps [batch, height, width, channels], shallow to deep, each half as
        high and wide as the one before.
      labels: y, integers [batch] or probabilities [batch, classes].
      weight: w.
      channel_reduction: one of `CHANNEL_REDUCTIONS`; the sum over channels sharpens the softmax.
      upsample: what is enlarged, one of `UPSAMPLINGS`: the features, or their map
        mean_c F_pc^2.

    Returns:
      The scalar and its terms: "cross_entropy" [batch] and "attention" [S - 1, batch], the mean
      over positions.

    Raises:
      ValueError: fewer than two stages, stages that do not halve, shapes that do not fit, or an
        unknown `channel_reduction` or `upsample`.

    Example:
      >>> maps = [jnp.ones((1, 4, 4, 2)), jnp.ones((1, 2, 2, 3))]
      >>> sad_loss(jnp.zeros((1, 4)), maps, jnp.array([3]))[0].round(3)
      Array(1.386, dtype=float32)

    Source: Hou et al., ICCV 2019, arXiv:1908.00821, for lane detection, with the channels' sum, the
    maps enlarged and weight 0.1 as third parties tell. The defaults are the only classification
    code's, winycg/Self-KD-Lib.
    """
    check_choice("channel_reduction", channel_reduction, CHANNEL_REDUCTIONS)
    check_choice("upsample", upsample, UPSAMPLINGS)
    logits = as_matrix("logits", logits)
    maps = as_maps("features", features)
    check_batch("features[0]", maps[0], "logits", logits)
    if len(maps) < 2:
        raise ValueError("features: takes one map for each of 2 or more stages, not 1")
    reduce = jnp.mean if channel_reduction == "mean" else jnp.sum

    def attention(energies: jax.Array) -> jax.Array:
        return jax.nn.softmax(energies.reshape(len(energies), -1), axis=-1)

    distances = []
    for i, (shallow, deep) in enumerate(itertools.pairwise(maps), start=1):
        doubled = (2 * deep.shape[1], 2 * deep.shape[2])
        if shallow.shape[1:3] != doubled:
            raise ValueError(
                f"features[{i}]: height and width {deep.shape[1:3]} are not half of "
                f"{shallow.shape[1:3]}, those of features[{i - 1}]"
            )
        deep = jax.lax.stop_gradient(deep)
        if upsample == "features":
            target = reduce(jnp.square(_resize(deep, doubled)), axis=-1)
        else:
            target = _resize(reduce(jnp.square(deep), axis=-1)[..., None], doubled)[..., 0]
        student = reduce(jnp.square(shallow), axis=-1)
        distances.append(jnp.mean(jnp.square(attention(student) - attention(target)), axis=1))
    ce, distance = cross_entropy(logits, labels), jnp.stack(distances)
    scalar = jnp.mean(ce + weight * jnp.sum(distance, axis=0))
    return scalar, {"cross_entropy": ce, "attention": distance}


def _positions(features: jax.Array) -> jax.Array:
    """u(F) of FRSKD: the mean square of each position, [batch, positions] of length 1."""
    return unit_length(jnp.mean(jnp.square(features), axis=-1).reshape(len(features), -1))


def _resize(maps: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Enlarges maps [batch, height, width, channels] to another height and width."""
    return jax.image.resize(maps, (len(maps), *size, maps.shape[-1]), "bilinear")
