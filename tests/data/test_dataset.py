import numpy as np
import pytest

from skdsam_jax.data import Dataset, Split
from skdsam_jax.options import ConfigError


def _split(count=4, side=8, labels=None):
    labels = np.arange(count) % 3 if labels is None else np.array(labels)
    return Split(np.zeros((count, side, side, 3), np.uint8), labels.astype(np.int32))


def _dataset(**changes):
    fields = {
        "name": "shapes",
        "class_names": ("circle", "square", "star"),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.2, 0.2, 0.2),
        "train": _split(6),
        "validation": None,
        "test": _split(4),
    }
    return Dataset(**fields | changes)


def test_a_dataset_knows_its_shape():
    dataset = _dataset()
    assert dataset.num_classes == 3
    assert dataset.image_shape == (8, 8, 3)
    assert len(dataset.train) == 6


def test_take_keeps_the_order_asked_for():
    split = Split(np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1), np.array([5, 6, 7], np.int32))
    taken = split.take(np.array([2, 0]))
    np.testing.assert_array_equal(taken.labels, [7, 5])
    np.testing.assert_array_equal(taken.images[1], split.images[0])


@pytest.mark.parametrize(
    ("name", "split", "complaint"),
    [
        ("train", _split(4, labels=[0, 1, 3, 2]), "label 3 of example 2 is outside the 3 classes"),
        ("test", _split(2, labels=[0, -1]), "label -1 of example 1 is outside the 3 classes"),
        ("validation", _split(2, labels=[9, 9]), "label 9 of example 0 is outside the 3 classes"),
        ("test", Split(_split(4).images, _split(3).labels), "4 images but 3 labels"),
        ("test", _split(0), "has no examples"),
        ("test", _split(4, side=9), "images are [9, 9, 3], those of the training split [8, 8, 3]"),
        ("train", Split(np.zeros((2, 8, 8, 3), np.float32), _split(2).labels), "must be uint8"),
        ("train", Split(np.zeros((2, 8, 8), np.uint8), _split(2).labels), "must be uint8"),
        ("train", Split(_split(2).images, np.zeros(2, np.int64)), "must be int32 [examples]"),
        ("train", Split(_split(2).images, np.zeros((2, 1), np.int32)), "must be int32 [examples]"),
    ],
)
def test_a_bad_split_is_refused_in_one_line_that_names_it(name, split, complaint):
    with pytest.raises(ConfigError) as error:
        _dataset(**{name: split})
    assert str(error.value).startswith(f"dataset shapes, split {name}: ")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_statistics_must_fit_the_channels():
    with pytest.raises(ConfigError, match="3 channels, but statistics of 1"):
        _dataset(mean=(0.5,), std=(0.2,))
