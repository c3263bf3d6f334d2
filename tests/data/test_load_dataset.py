import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.options import ConfigError, build


def _as_set(split):
    return {image.tobytes() for image in split.images}


def test_defaults_are_the_whole_of_digits():
    dataset = load_dataset(DataOptions(), 0)
    assert dataset.name == "digits"
    assert dataset.validation is None
    assert len(dataset.train) == 1442


def test_validation_is_cut_from_the_training_split():
    whole = load_dataset(DataOptions(), 0)
    cut = load_dataset(DataOptions(validation_fraction=0.25), 0)
    assert (len(cut.train), len(cut.validation)) == (1082, 360)
    np.testing.assert_array_equal(cut.test.images, whole.test.images)
    assert not _as_set(cut.train) & _as_set(cut.validation)
    assert _as_set(cut.train) | _as_set(cut.validation) == _as_set(whole.train)
    shares = np.bincount(cut.validation.labels) / np.bincount(whole.train.labels)
    assert np.all(np.abs(shares - 0.25) < 0.01)
    assert cut.mean == whole.mean


def test_the_validation_split_does_not_depend_on_how_many_train():
    options = DataOptions(validation_fraction=0.1)
    every = load_dataset(options, 3)
    some = load_dataset(dataclasses.replace(options, train_examples=200), 3)
    np.testing.assert_array_equal(every.validation.images, some.validation.images)
    assert len(some.train) == 200
    assert _as_set(some.train) < _as_set(every.train)
    assert np.bincount(some.train.labels).min() >= 19


def test_the_seed_alone_decides():
    options = DataOptions(validation_fraction=0.1, train_examples=300)
    first, again, other = (load_dataset(options, seed) for seed in (0, 0, 1))
    for name in ("train", "validation"):
        split = getattr(first, name)
        np.testing.assert_array_equal(split.images, getattr(again, name).images)
        assert _as_set(split) != _as_set(getattr(other, name))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"train_examples": 1443},
            "config.data.train_examples: takes at most the 1442 training examples, not 1443",
        ),
        (
            {"train_examples": 1200, "validation_fraction": 0.25},
            "config.data.train_examples: takes at most the 1082 training examples, not 1200",
        ),
        (
            {"validation_fraction": 1e-4},
            "config.data.validation_fraction: 0.0001 of 1442 examples leaves none for validation",
        ),
        (
            {"validation_fraction": 0.9999},
            "config.data.validation_fraction: 0.9999 of 1442 examples leaves none for training",
        ),
        (
            {"crop_padding": 16},
            "config.data.crop_padding: takes less than the image size 16, not 16",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(changes, complaint):
    with pytest.raises(ConfigError) as error:
        load_dataset(DataOptions(**changes), 0)
    assert str(error.value) == complaint


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"validation_fraction": 1.0}, "config.data.validation_fraction: takes less than 1.0"),
        ({"validation_fraction": -0.1}, "config.data.validation_fraction: takes at least 0.0"),
        ({"train_examples": 0}, "config.data.train_examples: takes at least 1"),
        ({"image_size": 4}, "config.data.image_size: takes at least 8"),
        ({"crop_padding": -1}, "config.data.crop_padding: takes at least 0"),
        ({"flip": 1}, "config.data.flip: takes True or False"),
        ({"data_dir": 3}, "config.data.data_dir: takes text, not 3"),
    ],
)
def test_options_refuse_what_their_fields_do_not_take(values, complaint):
    with pytest.raises(ConfigError) as error:
        build(DataOptions, values, "config.data")
    assert str(error.value).startswith(complaint)


def test_an_unknown_set_is_refused():
    with pytest.raises(ConfigError) as error:
        load_dataset(DataOptions(name="cifar"), 0)
    assert str(error.value) == "config.data.name: unknown value 'cifar'; did you mean cifar10?"


def test_importing_the_package_is_light():
    heavy = "{'jax', 'tensorflow', 'tensorflow_datasets', 'sklearn', 'grain'}"
    code = f"import sys, skdsam_jax.data; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("set()\n", "")
