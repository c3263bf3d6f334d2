"""Mixup: training on mixtures of pairs."""

import jax
import jax.numpy as jnp
import numpy as np


def random_mixup(
    key: jax.Array, images: jax.Array, labels: jax.Array, alpha: float, num_classes: int
) -> tuple[jax.Array, jax.Array]:
    """Mixes each image with another of the batch (Zhang et al., ICLR 2018, arXiv:1710.09412).

    x'_i = lambda x_i + (1 - lambda) x_p(i) and y'_i = lambda y_i + (1 - lambda) y_p(i) with one
    lambda ~ Beta(alpha, alpha) and one random permutation p for the whole batch. The partners of
    a batch that is split over devices are sent between them.

    Args:
      key: decides lambda and p.
      images: normalised, floating [batch, height, width, channels].
      labels: integers [batch].
      alpha: of the Beta distribution, more than 0.
      num_classes: the number of classes.

    Returns:
      Images of the same shape and dtype, and labels as float32 probabilities
      [batch, num_classes].
    """
    ratio_key, partner_key = jax.random.split(key)
    ratio = jax.random.beta(ratio_key, jnp.float32(alpha), jnp.float32(alpha), (), jnp.float32)
    partners = jax.random.permutation(partner_key, jnp.arange(len(images), dtype=jnp.int32))
    return mixup(images, labels, ratio, partners, num_classes)


def mixup(
    images: jax.Array,
    labels: jax.Array,
    ratio: jax.Array,
    partners: jax.Array,
    num_classes: int,
) -> tuple[jax.Array, jax.Array]:
    """Mixes each image with a given one.

    Args:
      images: floating [batch, height, width, channels].
      labels: integers [batch].
      ratio: float32 scalar, lambda.
      partners: int32 [batch], p.
      num_classes: the number of classes.

    Returns:
      What `random_mixup` returns.
    """
    targets = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
    return tuple(
        _mix(values, values[partners], ratio).astype(values.dtype) for values in (images, targets)
    )


def _mix(first: jax.Array, second: jax.Array, ratio: jax.Array) -> jax.Array:
    computed = np.promote_types(first.dtype, np.float32)
    ratio = ratio.astype(computed)
    return ratio * first.astype(computed) + (1 - ratio) * second.astype(computed)
