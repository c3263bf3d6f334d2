"""The PyTorch side of the benchmark computes what this library computes."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks.agreement import DisagreementError, compare
from benchmarks.jax_training import JaxTraining
from benchmarks.settings import Settings

SMALL = Settings(width=4, batch_size=6, examples=6, image_size=16, classes=5, augment=False)


def torch_training(settings):
    pytest.importorskip("torch", reason="PyTorch is not installed (the extra benchmark)")
    from benchmarks.pytorch_training import PytorchTraining

    return PytorchTraining(settings, "cpu", compiled=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "model"),
    [
        ("cross_entropy", "resnet18"),
        ("byot", "resnet18"),
        ("skdsam", "resnet18"),
        ("cross_entropy", "wrn16_2"),
        ("byot", "wrn16_2"),
        ("skdsam", "wrn16_2"),
    ],
)
def test_loss_and_gradients_agree_in_float64(method, model):
    settings = dataclasses.replace(SMALL, method=method, model=model)
    theirs = torch_training(settings)
    theirs.use_float64()
    with jax.enable_x64(True):
        ours = JaxTraining(settings)
        theirs.load(ours.weights())
        agreement = compare(ours.loss_and_gradient(), theirs.loss_and_gradient(), 1e-8)
    assert agreement.loss < 1e-9


@pytest.mark.parametrize("part", ["loss", "gradient"])
@pytest.mark.parametrize("error", [1e-3, np.nan])
def test_what_differs_is_refused(part, error):
    gradient = {"a": np.ones(3), "b": np.zeros(2)}
    wrong = {"a": np.ones(3), "b": np.array([0.0, error])}
    ours = (1 + error, gradient) if part == "loss" else (1.0, wrong)
    with pytest.raises(DisagreementError):
        compare(ours, (1.0, gradient), 1e-3)


def test_a_parameter_that_one_side_lacks_is_refused():
    with pytest.raises(DisagreementError, match="only one of the two has b"):
        compare((1.0, {"a": np.ones(1)}), (1.0, {"a": np.ones(1), "b": np.ones(1)}), 1.0)


def test_both_sides_augment_alike():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (the extra benchmark)")
    from benchmarks import pytorch_augment
    from skdsam_jax.data.augmentation import augment

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (5, 8, 8, 3), np.uint8)
    offsets = random.integers(0, 5, (5, 2)).astype(np.int32)
    mirrored = np.array([True, False, True, False, True])
    ours = augment.flip(augment.crop(images, offsets, 2), mirrored)
    theirs = pytorch_augment.flip(
        pytorch_augment.crop(torch.tensor(images), torch.tensor(offsets), 2), torch.tensor(mirrored)
    )
    np.testing.assert_array_equal(ours, theirs.numpy())
