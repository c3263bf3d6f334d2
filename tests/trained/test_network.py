"""A loaded network answers as the run's own evaluation did."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import skdsam_jax
from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.data.augmentation.augment import normalize
from skdsam_jax.models.layers import CONVOLUTIONS, Conv


@pytest.fixture(scope="module")
def trained(digits):
    return skdsam_jax.load(digits.workdir)


@pytest.fixture(scope="module")
def test_split():
    return load_dataset(DataOptions(), 0).test


def _measure(probabilities, labels):
    probabilities = np.asarray(probabilities, np.float64)
    accuracy = np.mean(probabilities.argmax(-1) == labels)
    return accuracy, -np.mean(np.log(probabilities[np.arange(len(labels)), labels]))


def test_digits_are_classified_as_in_the_run(digits, trained, test_split):
    accuracy, nll = _measure(trained.predict(test_split.images), test_split.labels)
    assert accuracy == digits.summary["test_accuracy"]
    assert nll == pytest.approx(digits.summary["test"]["nll"], rel=1e-5)


@pytest.mark.slow
def test_photographs_are_prepared_and_classified_as_in_the_run(photographs):
    """Trained on two devices, loaded on one, and its folder of pictures is not there any more."""
    trained = skdsam_jax.load(photographs.workdir)
    images = np.stack([trained.prepare(path) for path in photographs.pictures])
    accuracy, nll = _measure(trained.predict(images), photographs.labels)
    assert trained.class_names == ("blue", "red")
    assert accuracy == photographs.summary["test_accuracy"]
    assert nll == pytest.approx(photographs.summary["test"]["nll"], rel=1e-5)


def test_what_the_arrays_do_not_say_is_there(digits, trained):
    dataset = load_dataset(DataOptions(), 0)
    assert trained.config == json.loads((digits.workdir / "config.json").read_text())
    assert trained.class_names == dataset.class_names
    assert trained.image_shape == dataset.image_shape
    assert (trained.mean, trained.std) == (dataset.mean, dataset.std)
    assert trained.step == digits.summary["steps"]
    assert trained.params_digest == digits.summary["params_digest"]


def test_arrays_are_on_the_default_device(photographs):
    arrays = jax.tree.leaves(skdsam_jax.load(photographs.workdir).params)
    assert {array.sharding for array in arrays} == {
        jax.sharding.SingleDeviceSharding(jax.devices()[0])
    }


def test_any_batch_size_gives_the_same_logits(trained, test_split):
    whole = trained.logits(test_split.images[:7])
    assert whole.shape == (7, 10)
    assert whole.dtype == jnp.float32
    alone = trained.logits(test_split.images[:1])
    np.testing.assert_allclose(alone, whole[:1], rtol=1e-5, atol=1e-6)
    assert trained.predict(test_split.images[:0]).shape == (0, 10)
    np.testing.assert_allclose(trained.predict(test_split.images[:7]).sum(-1), 1, rtol=1e-6)


def test_the_classifier_takes_normalised_images(trained, test_split):
    images = normalize(jnp.asarray(test_split.images[:7]), trained.mean, trained.std, "float32")
    np.testing.assert_allclose(
        trained.classifier(images), trained.logits(test_split.images[:7]), rtol=1e-4, atol=1e-4
    )


def test_the_method_has_the_exits_that_were_measured(old_workdir, test_split):
    summary = json.loads((old_workdir / "summary.json").read_text())
    trained = skdsam_jax.load(old_workdir)
    images = normalize(jnp.asarray(test_split.images), trained.mean, trained.std, "float32")
    method = trained.method()
    outputs = jax.jit(lambda images: method.outputs(images, train=False))(images)
    accuracies = [np.mean(logits.argmax(-1) == test_split.labels) for logits in outputs.logits]
    # Another machine or version of XLA may round one of the 355 images to another class.
    np.testing.assert_allclose(accuracies, summary["exit_accuracies"], atol=1.5 / 355)


def test_it_computes_in_the_type_that_was_asked_for(digits, trained, test_split):
    half = skdsam_jax.load(digits.workdir, dtype="bfloat16")
    logits, expected = (network.logits(test_split.images[:7]) for network in (half, trained))
    assert logits.dtype == jnp.float32
    assert 0 < np.abs(logits - expected).max() < 0.1 * np.abs(expected).max()


def test_under_x64_it_computes_in_float64(digits, trained, test_split):
    expected = trained.logits(test_split.images[:7])
    with jax.enable_x64(True):
        logits = skdsam_jax.load(digits.workdir).logits(test_split.images[:7])
        assert logits.dtype == jnp.float64
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_promotion_is_never_left_to_chance(trained, test_split):
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert trained.predict(test_split.images[:3]).shape == (3, 10)


@pytest.mark.parametrize(
    ("images", "given"),
    [
        (np.zeros((2, 16, 16, 3), np.float32), "float32 [2, 16, 16, 3]"),
        (np.zeros((16, 16, 3), np.uint8), "uint8 [16, 16, 3]"),
        (np.zeros((2, 32, 32, 3), np.uint8), "uint8 [2, 32, 32, 3]"),
        ("image.png", "str []"),
    ],
)
def test_other_images_are_refused_in_one_line(trained, images, given):
    with pytest.raises(ValueError, match="images: takes uint8") as error:
        trained.logits(images)
    assert str(error.value).endswith(f"not {given}")


@pytest.mark.parametrize("form", [None, "direct", "winograd"])
def test_convolutions_are_computed_as_in_the_run(trained, form):
    """A run that began before there was a choice was direct."""
    model = {**trained.config["model"], "convolution": form}
    if form is None:
        del model["convolution"]
    loaded = dataclasses.replace(trained, config={**trained.config, "model": model})
    expected = CONVOLUTIONS[form or "direct"]
    for network in (loaded.classifier, loaded.method()):
        layers = [layer for _, layer in nnx.iter_modules(network) if isinstance(layer, Conv)]
        assert layers
        assert {layer.conv_general_dilated for layer in layers} == {expected}
