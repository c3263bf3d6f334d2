"""Mixup and CutMix: training on mixtures of pairs."""

import jax
import jax.numpy as jnp
import numpy as np


def random_mixup(
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    alpha: float,
    num_classes: int,
    *,
    reads: int = 1,
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
      reads: how many neighbouring images belong to one anchor: anchors are permuted, and each read
        is mixed with the same read of the partner.

    Returns:
      Images of the same shape and dtype, and labels as float32 probabilities
      [batch, num_classes].
    """
    ratio_key, partner_key = jax.random.split(key)
    partners = _partners(partner_key, len(images), reads)
    return mixup(images, labels, _ratio(ratio_key, alpha), partners, num_classes)


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


def random_cutmix(
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    alpha: float,
    num_classes: int,
    *,
    reads: int = 1,
) -> tuple[jax.Array, jax.Array]:
    """Pastes a box of another image into each (Yun et al., ICCV 2019, arXiv:1905.04899).

    One lambda ~ Beta(alpha, alpha), one random permutation p and one box serve the whole batch. The
    box has its centre anywhere in the image, uniformly, and the sides H sqrt(1 - lambda) and
    W sqrt(1 - lambda), rounded down to whole pixels on either side of the centre; what lies beyond
    the border is cut off. Inside it stands x_p(i), outside x_i, and

        y'_i = s y_i + (1 - s) y_p(i),  s the share of the pixels outside the box, not lambda.

    Args:
      key: decides lambda, p and the box.
      images: normalised, floating [batch, height, width, channels].
      labels: integers [batch].
      alpha: of the Beta distribution, more than 0; 1 in the paper.
      num_classes: the number of classes.
      reads: as in `random_mixup`.

    Returns:
      What `random_mixup` returns.
    """
    ratio_key, partner_key, box_key = jax.random.split(key, 3)
    partners = _partners(partner_key, len(images), reads)
    height, width = images.shape[1:3]
    row, column = (
        jax.random.randint(part, (), 0, size, jnp.int32)
        for part, size in zip(jax.random.split(box_key), (height, width), strict=True)
    )
    share = jnp.sqrt(1 - _ratio(ratio_key, alpha))
    sides = tuple(jnp.floor(size * share).astype(jnp.int32) for size in (height, width))
    return cutmix(images, labels, (row, column), sides, partners, num_classes)


def cutmix(
    images: jax.Array,
    labels: jax.Array,
    center: tuple[jax.Array, jax.Array],
    sides: tuple[jax.Array, jax.Array],
    partners: jax.Array,
    num_classes: int,
) -> tuple[jax.Array, jax.Array]:
    """Pastes a given box of a given image into each.

    Args:
      images: floating [batch, height, width, channels].
      labels: integers [batch].
      center: int32 row r and column of the box.
      sides: int32 height h and width of the box: rows r - floor(h/2) to r + floor(h/2), the last
        one excluded, and columns alike, as far as the image has them.
      partners: int32 [batch], p.
      num_classes: the number of classes.

    Returns:
      What `random_mixup` returns.
    """
    inside = [
        _between(size, middle - side // 2, middle + side // 2)
        for size, middle, side in zip(images.shape[1:3], center, sides, strict=True)
    ]
    box = inside[0][:, None] & inside[1][None, :]
    mixed = jnp.where(box[None, :, :, None], images[partners], images)
    outside = jnp.mean(~box, dtype=jnp.float32)
    targets = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
    return mixed, _mix(targets, targets[partners], outside)


def _between(size: int, start: jax.Array, stop: jax.Array) -> jax.Array:
    """Bool [size], which of the places lie from `start` on and before `stop`."""
    places = jnp.arange(size, dtype=jnp.int32)
    return (places >= start) & (places < stop)


def _ratio(key: jax.Array, alpha: float) -> jax.Array:
    return jax.random.beta(key, jnp.float32(alpha), jnp.float32(alpha), (), jnp.float32)


def _partners(key: jax.Array, images: int, reads: int) -> jax.Array:
    """int32 [images]: a permutation of the anchors that takes their reads along."""
    anchors = jax.random.permutation(key, jnp.arange(images // reads, dtype=jnp.int32))
    if reads == 1:
        return anchors
    return (reads * anchors[:, None] + jnp.arange(reads, dtype=jnp.int32)[None]).reshape(-1)


def _mix(first: jax.Array, second: jax.Array, ratio: jax.Array) -> jax.Array:
    computed = np.promote_types(first.dtype, np.float32)
    ratio = ratio.astype(computed)
    return ratio * first.astype(computed) + (1 - ratio) * second.astype(computed)
