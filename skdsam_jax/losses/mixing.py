"""The loss of a network that distils between images and their mixtures."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.arguments import (
    as_exits,
    as_maps,
    check_batch,
    check_fraction,
    exits_like,
    label_probabilities,
    matrix_like,
)
from skdsam_jax.losses.divergences import distillation_kl
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.result import Loss


def mixskd_loss(
    logits: Sequence[jax.Array],
    mixed_logits: Sequence[jax.Array],
    features: Sequence[jax.Array],
    mixed_features: Sequence[jax.Array],
    ensemble_logits: jax.Array,
    ensemble_mixed_logits: jax.Array,
    scores: Sequence[jax.Array],
    mixed_scores: Sequence[jax.Array],
    labels: jax.Array,
    partner: jax.Array,
    mixing_ratio: ArrayLike,
    *,
    mixed_cross_entropy_weight: ArrayLike = 1.0,
    distillation_weight: ArrayLike = 1.0,
    feature_weight: ArrayLike = 1.0,
    discriminator_weight: ArrayLike = 1.0,
    temperature: ArrayLike = 3.0,
) -> Loss:
    """MixSKD: what a network says about mixed images and the mix of what it says teach each other.

    Equation, with m the mixing ratio, pi the partner, I(v) = m v + (1 - m) v[pi],
    mCE(z) = m CE(z, y) + (1 - m) CE(z, y[pi]) and KL(t -> s) = KL(soft(t) || soft(s)), where soft
    is softmax at T and t gets no gradient; averaged over the batch:

    L = sum_k CE(z^k, y) + w_m (sum_k mCE(x^k) + mCE(e) + mCE(e'))
    + w_d T^2 (sum_{k<K} (KL(x^k -> I(z^k)) + KL(I(z^k) -> x^k)) + KL(e' -> I(z^K)) + KL(e -> x^K))
    + w_f sum_k mean (I(G_k) - G'_k)^2 + w_g sum_k BCE_k

    BCE_k is the sigmoid cross-entropy of a discriminator's two numbers, with target (1, 0) for
    I(G_k) and (0, 1) for G'_k, mean over all four. Features and scores have gradients on both
    sides. Examples are coupled only through the partner.

    Args:
      logits: z^k of the images, K >= 2 arrays [batch, classes], the backbone's last.
      mixed_logits: x^k of the mixed images, K arrays [batch, classes].
      features: G_k, K maps [batch, height, width, channels] of the heads and the last stage.
      mixed_features: G'_k, K maps of the same shapes.
      ensemble_logits: e, [batch, classes], of the fused I(G_k).
      ensemble_mixed_logits: e', [batch, classes], of the fused G'_k.
      scores: the discriminators' numbers for I(G_k), K arrays [batch, 2].
      mixed_scores: for G'_k, K arrays [batch, 2].
      labels: y, integers [batch] or probabilities [batch, classes].
      partner: pi, integers [batch]: which image is mixed into this one.
      mixing_ratio: m, from 0 to 1: the share of the image itself.
      mixed_cross_entropy_weight: w_m.
      distillation_weight: w_d.
      feature_weight: w_f.
      discriminator_weight: w_g.
      temperature: T > 0.

    Returns:
      The scalar and its terms: "cross_entropy" [K, batch]; "mixed_cross_entropy" [K + 2, batch],
      the last two of e and e'; "kl" [2, K, batch] (without T^2), row 0 with the student I(z^k) and
      row 1 with x^k; "feature" and "discriminator" [K, batch], means over a map and over four
      numbers.

    Raises:
      ValueError: sequences of different lengths, shapes that do not fit, a partner that is not
        integers [batch], `mixing_ratio` outside [0, 1], or `temperature` not positive.

    Example:
      >>> z, maps, scores = (jnp.zeros(shape) for shape in [(2, 1, 4), (2, 1, 2, 2, 3), (2, 1, 2)])
      >>> label, alone = jnp.array([3]), jnp.array([0])
      >>> mixskd_loss(z, z, maps, maps, z[0], z[0], scores, scores, label, alone, 0.3)[0].round(3)
      Array(9.704, dtype=float32)

    Source: Yang et al., ECCV 2022, arXiv:2208.05768; the loop for ImageNet in winycg/Self-KD-Lib.
    That for CIFAR computes the mixed cross-entropy and leaves it out: `mixed_cross_entropy_weight`
    0, with which e and e' learn nothing. Its discriminators are not among what is trained, and the
    network minimises their loss too; whether the paper means the opposite sign is not known.
    """
    check_fraction("mixing_ratio", mixing_ratio)
    clean = as_exits("logits", logits, minimum=2)
    mixed = exits_like(clean, "mixed_logits", mixed_logits)
    fused = matrix_like("ensemble_logits", ensemble_logits, "logits[0]", clean[0])
    fused_mixed = matrix_like("ensemble_mixed_logits", ensemble_mixed_logits, "logits[0]", clean[0])
    partner = jnp.asarray(partner)
    if partner.shape != clean[0].shape[:1] or not jnp.issubdtype(partner.dtype, jnp.integer):
        raise ValueError(
            f"partner: takes integers {clean[0].shape[:1]}, not {partner.dtype} {partner.shape}"
        )

    def interpolate(values: jax.Array) -> jax.Array:
        return mixing_ratio * values + (1 - mixing_ratio) * values[partner]

    probabilities = label_probabilities(labels, clean[0])
    partner_probabilities = probabilities[partner]

    def mixed_cross_entropy(z: jax.Array) -> jax.Array:
        own, other = cross_entropy(z, probabilities), cross_entropy(z, partner_probabilities)
        return mixing_ratio * own + (1 - mixing_ratio) * other

    interpolated = [interpolate(z) for z in clean]
    # The crossing is the method's: the mix of clean outputs learns from fused mixed features.
    teachers = ([*mixed[:-1], fused_mixed], [*interpolated[:-1], fused])
    terms = {
        "cross_entropy": jnp.stack([cross_entropy(z, probabilities) for z in clean]),
        "mixed_cross_entropy": jnp.stack(
            [mixed_cross_entropy(z) for z in (*mixed, fused, fused_mixed)]
        ),
        "kl": jnp.stack(
            [
                jnp.stack([distillation_kl(*pair, temperature) for pair in zip(*row, strict=True)])
                for row in zip((interpolated, mixed), teachers, strict=True)
            ]
        ),
        "feature": jnp.stack(
            [
                jnp.mean(jnp.square(interpolate(own) - other), axis=(1, 2, 3))
                for own, other in _maps(clean, features, mixed_features)
            ]
        ),
        "discriminator": jnp.stack(
            [
                _discrimination(own, other)
                for own, other in zip(
                    _scores(clean, "scores", scores),
                    _scores(clean, "mixed_scores", mixed_scores),
                    strict=True,
                )
            ]
        ),
    }
    weights = {
        "cross_entropy": 1.0,
        "mixed_cross_entropy": mixed_cross_entropy_weight,
        "kl": distillation_weight * temperature**2,
        "feature": feature_weight,
        "discriminator": discriminator_weight,
    }
    examples = sum(
        weights[name] * jnp.sum(term.reshape(-1, len(partner)), axis=0)
        for name, term in terms.items()
    )
    return jnp.mean(examples), terms


def _maps(
    logits: Sequence[jax.Array],
    features: Sequence[jax.Array],
    mixed_features: Sequence[jax.Array],
) -> list[tuple[jax.Array, jax.Array]]:
    """The maps of images and of mixed images, for as many exits as there are logits."""
    maps = {
        "features": as_maps("features", features),
        "mixed_features": as_maps("mixed_features", mixed_features),
    }
    for name, arrays in maps.items():
        if len(arrays) != len(logits):
            raise ValueError(f"{name}: {len(arrays)} exits, but logits has {len(logits)}")
        check_batch(f"{name}[0]", arrays[0], "logits", logits[0])
    pairs = list(zip(*maps.values(), strict=True))
    for i, (own, other) in enumerate(pairs):
        if own.shape != other.shape:
            raise ValueError(
                f"mixed_features[{i}]: shape {other.shape} is not {own.shape}, the shape of "
                f"features[{i}]"
            )
    return pairs


def _scores(
    logits: Sequence[jax.Array], name: str, scores: Sequence[jax.Array]
) -> tuple[jax.Array, ...]:
    """The discriminators' numbers [batch, 2], for as many exits as there are logits."""
    arrays = exits_like(logits, name, scores)
    if arrays[0].shape[1] != 2:
        raise ValueError(f"{name}[0]: takes two numbers an example, not {arrays[0].shape[1]}")
    return arrays


def _discrimination(scores: jax.Array, mixed_scores: jax.Array) -> jax.Array:
    """Sigmoid cross-entropy with the targets (1, 0) and (0, 1), mean over the four numbers."""
    signs = jnp.array([-1, 1], scores.dtype)[None]
    losses = jax.nn.softplus(signs * scores) + jax.nn.softplus(-signs * mixed_scores)
    return jnp.mean(losses, axis=1) / 2
