"""Configs: every file loads, every field is checked, nothing unknown passes."""

import dataclasses
import json
import typing

import pytest
from config_files import CONFIGS, experiment, load

from skdsam_jax.experiment.config import (
    default_config,
    differences,
    from_config_dict,
    left_to_the_run,
    to_dict,
)
from skdsam_jax.methods import METHODS
from skdsam_jax.options import ConfigError


@pytest.mark.parametrize("name", CONFIGS)
def test_every_file_describes_an_experiment_and_how_to_run_it(name):
    command = f"python train.py --config configs/{name}.py --workdir runs/"
    assert command in load(name).__doc__
    described = experiment(name)
    assert (described.method.name, described.model.name) == ("skdsam", "resnet18")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_file_takes_a_cell(name):
    plain = experiment(name)
    cell = experiment(name, "augment=mixup,recipe=lab,method=byot,backbone=densenet121")
    assert (cell.model.name, cell.method.name) == ("densenet121", "byot")
    assert (cell.data.mixup_alpha, cell.data.autoaugment) == (0.2, True)
    # All else is the file's own.
    assert cell.model == dataclasses.replace(plain.model, name="densenet121")
    assert (cell.data.name, cell.data.image_size) == (plain.data.name, plain.data.image_size)
    assert cell.training.batch_size == plain.training.batch_size


@pytest.mark.parametrize("name", ["cub200", "mit67", "dogs", "stanford40", "folder"])
def test_photographs_are_streamed_as_for_imagenet(name):
    data = experiment(name).data
    assert (data.pipeline, data.crop, data.image_size) == ("streaming", "resized", 224)
    assert experiment(name).model.stem == "imagenet"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar100", (None, "padded", 4)),
        ("tiny_imagenet", (32, "resized", 4)),
        ("tiny_imagenet64", (None, "padded", 8)),
    ],
)
def test_small_images_are_resident(name, expected):
    data = experiment(name).data
    assert (data.image_size, data.crop, data.crop_padding) == expected
    assert (data.pipeline, experiment(name).model.stem) == ("resident", "small")


@pytest.mark.parametrize("name", CONFIGS)
def test_an_experiment_survives_json(name):
    before = experiment(name)
    assert from_config_dict(json.loads(json.dumps(to_dict(before)))) == before


def test_cifar100_is_the_thesis_recipe():
    thesis = experiment("cifar100")
    training, method = thesis.training, thesis.method
    assert (training.epochs, training.batch_size, training.learning_rate) == (250, 128, 0.1)
    assert [share * training.epochs for share in training.decay_at] == [100, 150]
    assert (training.momentum, training.nesterov, training.weight_decay) == (0.9, False, 5e-4)
    assert (method.distillation_weight, method.feature_weight) == (1.5, 100)
    assert (method.temperature, method.attention_temperature) == (4, 4)
    assert (thesis.model.name, thesis.model.width) == ("resnet18", None)


def _set(config, field, value):
    *path, last = field.split(".")
    for name in path:
        config = config[name]
    with config.unlocked(), config.ignore_type():
        config[last] = value


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sede", 1, "config.sede: unknown field; did you mean seed?"),
        ("seed", -1, "config.seed: takes at least 0"),
        ("seed", 1.5, "config.seed: takes a whole number"),
        (
            "method.name",
            "skdsan",
            "config.method.name: unknown method 'skdsan'; did you mean skdsam?",
        ),
        ("method.energy", "cosine", "config.method.energy: unknown value 'cosine'"),
        ("method.temperature", 0, "config.method.temperature: takes more than 0"),
        ("method.alpha", 0.5, "config.method.alpha: no option of skdsam, which takes attention_"),
        ("method.nonsense", 1, "config.method.nonsense: unknown field"),
        ("model.width", 0, "config.model.width: takes at least 1"),
        ("model.wdith", 8, "config.model.wdith: unknown field; did you mean width?"),
        (
            "data.name",
            "cifar1000",
            "config.data.name: unknown value 'cifar1000'; did you mean cifar100?",
        ),
        ("data.validation_fraction", 1.0, "config.data.validation_fraction: takes less than 1"),
        ("training.epochs", 0, "config.training.epochs: takes at least 1"),
        ("training.epochs", "ten", "config.training.epochs: takes a whole number, not 'ten'"),
        ("training.decay_at", (0.5, 1.5), "config.training.decay_at: takes less than 1, not 1.5"),
        (
            "training.compute_dtype",
            "float16",
            "config.training.compute_dtype: unknown value 'float16'",
        ),
        ("training.learning_rate", float("inf"), "config.training.learning_rate: takes a finite"),
        ("training", 3, "config.training: takes fields of its own, not 3"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(field, value, message):
    config = default_config()
    _set(config, field, value)
    with pytest.raises(ConfigError) as error:
        from_config_dict(config)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_options_of_a_method_without_attention_refuse_attention():
    config = default_config()
    config.method.name = "cross_entropy"
    config.method.energy = "dot"
    with pytest.raises(ConfigError, match="energy: no option of cross_entropy, which takes no opt"):
        from_config_dict(config)


def test_methods_agree_on_the_type_of_an_option_of_one_name():
    kinds = {}
    for method in METHODS.values():
        for name, kind in typing.get_type_hints(method.Options).items():
            assert kinds.setdefault(name, kind) == kind, name


def test_every_field_of_every_method_can_be_set():
    config = default_config()
    for method in METHODS.values():
        for field in dataclasses.fields(method.Options):
            assert field.name in config.method


def test_differences_name_fields_and_leave_out_what_cannot_change_the_numbers():
    before = to_dict(from_config_dict(default_config()))
    config = default_config()
    config.method.temperature = 3.0
    config.data.data_dir = "elsewhere"
    config.checkpoint.every_minutes = 1.0
    after = to_dict(from_config_dict(config))
    assert differences(before, after) == ["config.method.temperature: 4.0, now 3.0"]


def test_what_is_left_to_the_run_is_what_nobody_set():
    """Of the options that a run fills in; of another method's there are none."""
    config = default_config()
    both = {"model.convolution", "model.initial_sha256"}
    assert left_to_the_run(from_config_dict(config)) == both
    config.model.convolution = "direct"
    config.method.name = "knowledge_distillation"
    names = {"model.initial_sha256", "method.teacher_sha256"}
    assert left_to_the_run(from_config_dict(config)) == names


def test_fields_that_may_differ_are_no_difference():
    config = default_config()
    before = to_dict(from_config_dict(config))
    config.model.convolution, config.seed = "direct", 3
    after = to_dict(from_config_dict(config))
    assert len(differences(before, after)) == 2
    assert differences(before, after, ["model.convolution"]) == ["config.seed: 0, now 3"]
