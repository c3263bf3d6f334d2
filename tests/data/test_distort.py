"""The whole chain: the order of the recipes, and that distortions do not disturb each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.data.augmentation import augment
from skdsam_jax.data.augmentation.autoaugment import random_autoaugment
from skdsam_jax.data.augmentation.distort import Look, distort
from skdsam_jax.data.augmentation.resized_crop import random_resized_crop
from skdsam_jax.options import ConfigError, build

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
LAB = {"crop_fill": 128, "autoaugment": True, "cutout": "black"}


def _images(batch=32, side=16):
    return np.random.default_rng(0).integers(1, 256, (batch, side, side, 3), np.uint8)


def _distort(images, key, size=None, **options):
    labels = jnp.arange(len(images), dtype=jnp.int32) % 5
    look = Look(size or images.shape[1:3], MEAN, STD, num_classes=5)
    function = functools.partial(distort, options=DataOptions(**options), look=look)
    return jax.jit(function)(jnp.asarray(images), labels, key=key)


def _normalized(images):
    return (np.asarray(images, np.float64) / 255 - MEAN) / STD


def test_the_lab_recipe_crops_flips_applies_the_policy_and_cuts_out_black(key):
    images = _images()
    crop_key, flip_key, policy_key, cutout_key, _ = jax.random.split(key, 5)
    expected = augment.random_crop(crop_key, jnp.asarray(images), 4, 128)
    expected = random_autoaugment(policy_key, augment.random_flip(flip_key, expected))
    expected = augment.random_cutout(cutout_key, expected, 8)
    result, labels = _distort(images, key, **LAB)
    np.testing.assert_allclose(result, _normalized(expected), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(labels, np.arange(32) % 5)


@pytest.mark.parametrize(("cutout", "value"), [("mean", 0.0), ("black", _normalized(0))])
def test_a_square_of_half_the_side_is_filled(key, cutout, value):
    images = _images()
    options = {"crop_padding": 0, "flip": False, "cutout": cutout}
    result = np.asarray(_distort(images, key, **options)[0])
    cut = np.all(np.isclose(result, value, atol=1e-6), axis=-1)
    np.testing.assert_allclose(result[~cut], _normalized(images)[~cut], rtol=1e-5, atol=1e-5)
    areas = cut.sum((1, 2))
    assert areas.max() == 8 * 8
    assert areas.min() >= 4 * 4


def test_resized_crops_shrink_larger_images_and_nothing_else_does(key):
    resized, _ = _distort(_images(), key, size=(8, 8), crop="resized", cutout="mean", flip=False)
    assert resized.shape == (32, 8, 8, 3)
    crop_key, _, _, cutout_key, _ = jax.random.split(key, 5)
    expected = random_resized_crop(crop_key, jnp.asarray(_images()), (8, 8))
    expected = augment.normalize(expected, MEAN, STD, jnp.float32)
    expected = augment.random_cutout(cutout_key, expected, 4)
    np.testing.assert_allclose(resized, expected, atol=1e-5)
    with pytest.raises(ValueError, match="can become"):
        _distort(_images(), key, size=(8, 8))


def test_a_size_of_its_own(key):
    options = {"crop_padding": 0, "flip": False, "cutout": "mean", "cutout_size": 3}
    result = np.asarray(_distort(_images(), key, **options)[0])
    assert np.all(result == 0, axis=-1).sum((1, 2)).max() == 9


def test_one_distortion_leaves_what_the_others_draw(key):
    """Images that are constant along rows show their crop whether or not they are flipped."""
    rows = np.broadcast_to(np.arange(1, 17, dtype=np.uint8).reshape(1, -1, 1, 1), (32, 16, 16, 3))
    plain = _distort(rows, key)[0]
    for other in ({"flip": False}, {"cutout": "mean"}, {"mixup_alpha": 0.2}):
        changed = _distort(rows, key, **other)[0]
        if "cutout" in other:
            plain_part = np.where(changed == 0, 0, plain)
            np.testing.assert_array_equal(changed, plain_part)
        elif "mixup_alpha" not in other:
            np.testing.assert_array_equal(changed[:, :, 7:9], plain[:, :, 7:9])


def test_mixup_sees_the_other_distortions_done(key):
    """Mixed images are mixtures of the images that the same key makes without Mixup."""
    images = _images(4)
    options = {"cutout": "mean"}
    plain = np.asarray(_distort(images, key, **options)[0])
    mixed, targets = _distort(images, key, mixup_alpha=1.0, **options)
    assert targets.shape == (4, 5)
    # Four images of four classes: the targets say who was mixed, and how.
    expected = np.einsum("ij,jhwc->ihwc", np.asarray(targets)[:, :4], plain)
    np.testing.assert_allclose(mixed, expected, rtol=1e-4, atol=1e-4)


def test_cutmix_sees_the_other_distortions_done(key):
    """Every pixel is one that the same key makes without CutMix, and labels say how many are."""
    images = _images(4)
    options = {"cutout": "mean"}
    plain = np.asarray(_distort(images, key, **options)[0])
    mixed, targets = (
        np.asarray(part) for part in _distort(images, key, cutmix_alpha=1.0, **options)
    )
    for image, own, target in zip(mixed, range(4), targets, strict=True):
        partner = next((label for label in np.flatnonzero(target) if label != own), own)
        # Two programs may round differently.
        box = ~np.all(np.isclose(image, plain[own], atol=1e-5), axis=-1)
        np.testing.assert_allclose(image[box], plain[partner][box], rtol=1e-5, atol=1e-5)
        # What is cut out of both images shows no border.
        assert box.sum() <= 256 * (1 - target[own]) + 1e-3
    assert np.any((targets > 0) & (targets < 1))


@pytest.mark.parametrize("crop", ["padded", "resized"])
def test_what_was_cropped_already_is_not_cropped_again(key, crop):
    images, labels = jnp.asarray(_images(4)), jnp.arange(4, dtype=jnp.int32)
    options = DataOptions(crop=crop, flip=False)
    found, _ = distort(
        images, labels, key=key, options=options, look=Look((16, 16), MEAN, STD, 5), cropped=True
    )
    np.testing.assert_allclose(found, _normalized(_images(4)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cutout_size": 8}, "config.data.cutout_size: takes effect only with config.data.cutout"),
        ({"cutout": "grey"}, "config.data.cutout: unknown value 'grey'; known are"),
        ({"crop_fill": 256}, "config.data.crop_fill: takes at most 255, not 256"),
        ({"mixup_alpha": -0.1}, "config.data.mixup_alpha: takes at least 0"),
        ({"cutmix_alpha": -1.0}, "config.data.cutmix_alpha: takes at least 0"),
        (
            {"mixup_alpha": 0.2, "cutmix_alpha": 1.0},
            "config.data.cutmix_alpha: takes 0 with Mixup; a batch is mixed once",
        ),
        (
            {"crop": "padded", "pipeline": "streaming"},
            "config.data.crop: takes resized when streaming, not padded",
        ),
        ({"crop": "resize"}, "config.data.crop: unknown value 'resize'; did you mean resized?"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(values, message):
    with pytest.raises(ConfigError) as error:
        build(DataOptions, values, "config.data")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_square_as_large_as_the_image_is_refused():
    with pytest.raises(ConfigError, match=r"config\.data\.cutout_size: takes less than the image"):
        load_dataset(DataOptions(name="digits", cutout="mean", cutout_size=16), seed=0)


def test_training_images_stay_large_for_resized_crops(data_dir):
    options = {"name": "cifar10", "data_dir": str(data_dir), "validation_fraction": 0.5}
    cropped = load_dataset(DataOptions(**options, image_size=16, crop="resized"), seed=0)
    shrunk = load_dataset(DataOptions(**options, image_size=16), seed=0)
    own = load_dataset(DataOptions(**options), seed=0)
    assert cropped.image_shape == shrunk.image_shape == (16, 16, 3)
    np.testing.assert_array_equal(cropped.train.images, own.train.images)
    np.testing.assert_array_equal(cropped.validation.images, shrunk.validation.images)
    np.testing.assert_array_equal(cropped.test.images, shrunk.test.images)
    enlarged = load_dataset(DataOptions(**options, image_size=48, crop="resized"), seed=0)
    assert enlarged.train.image_shape == (48, 48, 3)
