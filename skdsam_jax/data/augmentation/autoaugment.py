"""AutoAugment's policy for CIFAR-10, on whole batches.

Cubuk et al., AutoAugment: Learning Augmentation Policies from Data, CVPR 2019 (arXiv:1805.09501),
table 7. The paper leaves details open; they are settled as torchvision settles them:

* level k of 0..9 stands for k/9 of the largest magnitude: 0.3 for the shears, 150/331 of the side
  for the translations (whole pixels, rounded towards zero), 30 degrees for the rotation, 0.9 for
  brightness, colour, contrast and sharpness (factor 1 +- magnitude); posterising keeps
  8 - round(4 k / 9) bits, solarising inverts levels from 255 (1 - k/9) on;
* shears, translations, rotations and the four factors take either sign with probability 1/2;
* pixels move to their nearest neighbour, shears about the upper left corner.

Pixels from outside are grey (128), as in the public recipes that train with this policy.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.data.augmentation import pixels

# (operation, probability, level) twice: the sub-policies, in the paper's order.
CIFAR10_POLICY: tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...] = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)

OPERATIONS = (
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color",
    "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert",
)  # fmt: skip

FILL = 128

# How `_apply` finds an image's table, and the base that it is blended with.
_OWN_TABLE, _AUTOCONTRAST, _EQUALIZE = range(3)
_BASES = ("Brightness", "Color", "Contrast", "Sharpness")


class _Parameters(NamedTuple):
    """What one operation does; every operation is identity in all fields but its own.

    Attributes:
      matrix: of `pixels.affine`.
      table: uint8 [256], new levels.
      adaptive: whether the table is `table` or made from the image's histogram, and how.
      base: index in `_BASES` of what is blended with.
      tenths: of the image in the blend.
    """

    matrix: np.ndarray
    table: np.ndarray
    adaptive: np.ndarray
    base: np.ndarray
    tenths: np.ndarray


def random_autoaugment(key: jax.Array, images: jax.Array) -> jax.Array:
    """Applies a random sub-policy of `CIFAR10_POLICY` to each image.

    Args:
      key: decides each image's sub-policy (uniformly), which of its two operations happen, and
        the sign of each.
      images: uint8 [batch, height, width, 3].

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: the images are not RGB.
    """
    policy_key, happen_key, sign_key = jax.random.split(key, 3)
    batch = len(images)
    policy = jax.random.randint(policy_key, (batch,), 0, len(CIFAR10_POLICY), jnp.int32)
    uniform = jax.random.uniform(happen_key, (2, batch), jnp.float32)
    negative = jax.random.bits(sign_key, (2, batch), jnp.uint8) & jnp.uint8(1)

    probabilities = [[place[1] for place in sub_policy] for sub_policy in CIFAR10_POLICY]
    happens = uniform < jnp.array(probabilities, jnp.float32).T[:, policy]
    operations = [
        (name, level, sign)
        for sub_policy in CIFAR10_POLICY
        for name, _, level in sub_policy
        for sign in (1, -1)
    ]
    place = jnp.array([[0], [1]], jnp.int32)
    signed = 2 * (2 * policy[None] + place) + negative.astype(jnp.int32)
    chosen = jnp.where(happens, signed, len(operations))
    return apply_operations(images, chosen, (*operations, ("Identity", 0, 1)))


def apply_operations(
    images: jax.Array, chosen: jax.Array, operations: tuple[tuple[str, int, int], ...]
) -> jax.Array:
    """Applies operations of a list to each image, one after another.

    Every image goes through one affine map, one table of levels and one blend per operation, all
    of which but the operation's own leave it as it is: that costs less than making every
    operation's result.

    Args:
      images: uint8 [batch, height, width, 3].
      chosen: int32 [places, batch], for each image an index of `operations` at each place.
      operations: (name of `OPERATIONS`, level 0..9, sign 1 or -1); an operation without a sign
        ignores it.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: the images are not RGB, or an operation is unknown.
    """
    height, width, channels = images.shape[1:]
    if channels != 3:
        raise ValueError(f"images: AutoAugment takes 3 channels, not {channels}")
    parameters = _Parameters(*map(jnp.asarray, _stack(operations, height, width)))

    def apply(images: jax.Array, chosen: jax.Array) -> tuple[jax.Array, None]:
        return _apply(images, _Parameters(*(values[chosen] for values in parameters))), None

    # A loop, because XLA on a CPU would compute the images of one place again for each of the
    # pixels that the next place reads.
    return jax.lax.scan(apply, images, chosen)[0]


def _apply(images: jax.Array, parameters: _Parameters) -> jax.Array:
    """Applies one operation to each image; parameters have a first axis [batch]."""
    counts = pixels.histograms(images)
    kind = parameters.adaptive.reshape(-1, 1, 1)
    tables = jnp.where(
        kind == _AUTOCONTRAST, pixels.autocontrast_tables(counts), parameters.table[:, None]
    )
    tables = jnp.where(kind == _EQUALIZE, pixels.equalize_tables(counts), tables)
    # Computed once, not again for every pixel that is looked up.
    tables = jax.lax.optimization_barrier(tables)
    changed = pixels.look_up(pixels.affine(images, parameters.matrix, FILL), tables)
    # An image that is blended is neither moved nor looked up, so its base is that of `images`.
    return pixels.blend(_blend_base(images, parameters.base), changed, parameters.tenths)


def _blend_base(images: jax.Array, base: jax.Array) -> jax.Array:
    """What each image is blended with: black, its luma, its mean luma, or itself smoothed."""
    luma = pixels.grey(images)
    choices = (jnp.zeros_like(luma), luma, pixels.mean_grey(luma), pixels.smooth(images))
    blended = jnp.zeros(images.shape, jnp.int32)
    for index, choice in enumerate(choices):
        blended = jnp.where(base.reshape(-1, 1, 1, 1) == index, choice, blended)
    return blended


@functools.cache
def _stack(operations: tuple[tuple[str, int, int], ...], height: int, width: int) -> _Parameters:
    """The parameters of several operations, stacked along a first axis."""
    each = [_parameters(*operation, height, width) for operation in operations]
    return _Parameters(*(np.stack(values) for values in zip(*each, strict=True)))


def _parameters(name: str, level: int, sign: int, height: int, width: int) -> _Parameters:
    """One operation's parameters for images of `height` x `width` pixels."""
    if name not in OPERATIONS:
        raise ValueError(f"operations: {name!r} is none of {', '.join(OPERATIONS)}")
    levels = np.arange(256)
    tables = {
        "Invert": 255 - levels,
        "Posterize": levels & ~(2 ** round(4 * level / 9) - 1),
        "Solarize": np.where(9 * levels < 255 * (9 - level), levels, 255 - levels),
    }
    adaptive = {"AutoContrast": _AUTOCONTRAST, "Equalize": _EQUALIZE}
    # 0.9 k / 9 is k tenths.
    tenths = 10 + sign * level if name in _BASES else 10
    return _Parameters(
        pixels.fixed_point(_matrix(name, sign * level / 9, height, width)),
        tables.get(name, levels).astype(np.uint8),
        np.int32(adaptive.get(name, _OWN_TABLE)),
        np.int32(_BASES.index(name) if name in _BASES else 0),
        np.int32(tenths),
    )


def _matrix(name: str, share: float, height: int, width: int) -> tuple[float, ...]:
    """The affine map of an operation at `share` (-1..1) of its largest magnitude."""
    shear, turn = 0.3 * share, math.radians(-30 * share)
    cos, sin = math.cos(turn), math.sin(turn)
    x, y = width / 2, height / 2
    matrices = {
        "ShearX": (1.0, -shear, 0.0, 0.0, 1.0, 0.0),
        "ShearY": (1.0, 0.0, 0.0, -shear, 1.0, 0.0),
        "TranslateX": (1.0, 0.0, -float(int(150 / 331 * width * share)), 0.0, 1.0, 0.0),
        "TranslateY": (1.0, 0.0, 0.0, 0.0, 1.0, -float(int(150 / 331 * height * share))),
        # About the centre, counter-clockwise for a positive angle.
        "Rotate": (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y),
    }
    return matrices.get(name, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
