"""AutoAugment against Pillow, image by image, and the distribution of what it draws."""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from skdsam_jax.data.augmentation.autoaugment import (
    CIFAR10_POLICY,
    OPERATIONS,
    apply_operations,
    random_autoaugment,
)

SIGNED = OPERATIONS[1:10]
GREY = (128, 128, 128)


def _images(batch=16, height=32, width=32):
    """Smooth gradients, noise, narrow ranges and flat images: what histograms care about."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch, height, width, 3)).astype(np.float64)
    images[1::4] = images[1::4] * 0.3 + np.linspace(20, 150, width)[None, None, :, None]
    images[2::4] = images[2::4] // 8 + generator.integers(0, 200, (len(images[2::4]), 1, 1, 3))
    images[3] = 77
    images[7, :, :, 1] = np.arange(width) % 2 * 255
    return images.astype(np.uint8)


def _pillow(image, name, level, sign):
    """What the public recipes do to one image, written with Pillow alone."""
    image, (width, height) = Image.fromarray(image), image.shape[1::-1]
    signed = sign * level / 9
    coefficients = {
        "ShearX": (1, -0.3 * signed, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, -0.3 * signed, 1, 0),
        "TranslateX": (1, 0, -int(150 / 331 * width * signed), 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, -int(150 / 331 * height * signed)),
    }
    if name in coefficients:
        affine = Image.Transform.AFFINE
        return image.transform((width, height), affine, coefficients[name], fillcolor=GREY)
    others = {
        "Identity": lambda: image,
        "Rotate": lambda: image.rotate(30 * signed, fillcolor=GREY),
        "Posterize": lambda: ImageOps.posterize(image, 8 - round(4 * level / 9)),
        "Solarize": lambda: ImageOps.solarize(image, 255 - 255 * level / 9),
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Invert": lambda: ImageOps.invert(image),
    }
    if name in others:
        return others[name]()
    return getattr(ImageEnhance, name)(image).enhance(1 + 0.9 * signed)


CASES = [
    (name, level, sign)
    for name in OPERATIONS
    for level in ((0,) if name in ("Identity", "AutoContrast", "Equalize", "Invert") else range(10))
    for sign in ((1, -1) if name in SIGNED else (1,))
]
# Factors whose products Pillow's single precision rounds below a whole number.
INEXACT = {0.6, 1.2, 1.3}


@pytest.fixture(scope="module")
def results():
    """Every case on every image, in one compiled call for each size."""

    def apply(images):
        batch = len(images)
        repeated = jnp.tile(jnp.asarray(images), (len(CASES), 1, 1, 1))
        chosen = jnp.repeat(jnp.arange(len(CASES)), batch)[None]
        changed = np.asarray(
            jax.jit(apply_operations, static_argnums=2)(repeated, chosen, tuple(CASES))
        )
        return changed.reshape(len(CASES), *images.shape)

    return [(images, apply(images)) for images in (_images(), _images(8, 20, 27))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case)))
def test_operations_are_pillows(case, results):
    name, level, sign = case
    for images, changed in results:
        expected = np.stack([np.asarray(_pillow(image, *case)) for image in images])
        difference = np.abs(changed[CASES.index(case)].astype(int) - expected)
        factor = round(1 + 0.1 * sign * level, 1)
        enhances = name in ("Brightness", "Color", "Contrast", "Sharpness")
        if name == "AutoContrast" or (enhances and factor in INEXACT):
            # At exactly whole results Pillow may stay one level below.
            assert difference.max() <= 1
            assert np.mean(difference > 0) < 0.02
        else:
            assert difference.max() == 0


def test_operations_follow_one_another_and_differ_by_image():
    images = _images(8)[[0, 1, 3, 7]]
    operations = (("Rotate", 5, 1), ("Equalize", 0, 1), ("Color", 7, -1), ("Identity", 0, 1))
    chosen = np.array([[0, 1, 2, 3], [1, 0, 3, 2]], np.int32)
    ours = apply_operations(jnp.asarray(images), jnp.asarray(chosen), operations)
    for image, result, *places in zip(images, ours, *chosen, strict=True):
        for place in places:
            image = np.asarray(_pillow(image, *operations[place]))
        np.testing.assert_array_equal(result, image)


def _outcomes(image):
    """All that one image may become, with probabilities, from the policy's definition."""
    weights, chosen = [], []
    for sub_policy in CIFAR10_POLICY:
        places = []
        for name, probability, level in sub_policy:
            signs = (1, -1) if name in SIGNED else (1,)
            happening = [(probability / len(signs), (name, level, sign)) for sign in signs]
            places.append([(1 - probability, ("Identity", 0, 1)), *happening])
        for (first, before), (second, after) in itertools.product(*places):
            weights.append(first * second / len(CIFAR10_POLICY))
            chosen.append((CASES.index(before), CASES.index(after)))
    images = jnp.broadcast_to(jnp.asarray(image), (len(chosen), *image.shape))
    results = apply_operations(images, jnp.array(chosen).T, tuple(CASES))
    outcomes = collections.Counter()
    for result, weight in zip(np.asarray(results), weights, strict=True):
        outcomes[result.tobytes()] += weight
    return outcomes


@pytest.mark.slow
def test_every_outcome_is_as_likely_as_the_policy_says(key):
    """Chi-square over all images that a single one may become."""
    batch, image = 2000, _images(8)[1, ::2, ::2]
    expected = _outcomes(image)
    assert len(expected) > 60
    assert sum(expected.values()) == pytest.approx(1)
    function = jax.jit(random_autoaugment)
    images = jnp.broadcast_to(jnp.asarray(image), (batch, *image.shape))
    seen = collections.Counter()
    for part in jax.random.split(key, 10):
        seen.update(result.tobytes() for result in np.asarray(function(part, images)))
    total = 10 * batch
    assert all(expected[outcome] > 0 for outcome in seen)
    # Outcomes that are too rare for chi-square are counted together.
    likely = [outcome for outcome, weight in expected.items() if weight * total >= 5]
    counts = np.array([seen[outcome] for outcome in likely])
    means = np.array([total * expected[outcome] for outcome in likely])
    counts, means = np.append(counts, total - counts.sum()), np.append(means, total - means.sum())
    statistic, freedom = np.sum((counts - means) ** 2 / means.clip(1)), len(means) - 1
    # A chi-square variable has mean `freedom` and deviation sqrt(2 freedom).
    assert abs(statistic - freedom) < 5 * np.sqrt(2 * freedom)


def test_a_pure_function_of_its_key():
    images = jnp.asarray(_images())
    first, again = (random_autoaugment(jax.random.key(1), images) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == jnp.uint8
    assert np.any(first != random_autoaugment(jax.random.key(2), images))


def test_grey_images_and_unknown_operations_are_refused():
    images = jnp.zeros((1, 8, 8, 1), jnp.uint8)
    with pytest.raises(ValueError, match="AutoAugment takes 3 channels, not 1"):
        random_autoaugment(jax.random.key(0), images)
    chosen = jnp.zeros((1, 1), jnp.int32)
    with pytest.raises(ValueError, match="'Blur' is none of Identity"):
        apply_operations(jnp.zeros((1, 8, 8, 3), jnp.uint8), chosen, (("Blur", 1, 1),))
