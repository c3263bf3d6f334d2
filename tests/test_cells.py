"""The argument of a config file: what it sets, in any order, and what it refuses."""

import itertools

import pytest

from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config, from_config_dict, to_dict
from skdsam_jax.options import ConfigError


def _with(cell):
    config = default_config()
    use_cell(config, cell)
    return from_config_dict(config)


def test_no_cell_changes_nothing():
    assert _with("") == from_config_dict(default_config())


@pytest.mark.parametrize(
    ("cell", "changes"),
    [
        ("backbone=wrn40_4", {"model.name": "wrn40_4"}),
        ("method=skdsam_sla", {"method.name": "skdsam_sla"}),
        ("recipe=thesis", {}),
        (
            "recipe=lab",
            {
                "data.crop_fill": 128,
                "data.autoaugment": True,
                "data.cutout": "black",
                "training.decay_at": (83 / 250, 166 / 250, 240 / 250),
            },
        ),
        (
            "recipe=finetune",
            {
                "training.schedule": "cosine",
                "training.warmup_epochs": 2.0,
                "training.weight_decay": 1e-4,
                "training.epochs": 30,
                "training.learning_rate": 0.01,
                "training.label_smoothing": 0.1,
            },
        ),
        ("augment=cutout", {"data.cutout": "mean"}),
        ("augment=mixup", {"data.mixup_alpha": 0.2}),
        ("augment=cutmix", {"data.cutmix_alpha": 1.0}),
        ("augment=cutout+cutmix", {"data.cutout": "mean", "data.cutmix_alpha": 1.0}),
        ("augment=cutout+mixup", {"data.cutout": "mean", "data.mixup_alpha": 0.2}),
        ("augment=mixup+cutout", {"data.cutout": "mean", "data.mixup_alpha": 0.2}),
    ],
)
def test_a_part_sets_its_fields_and_no_other(cell, changes):
    expected = default_config()
    with expected.unlocked():
        for field, value in changes.items():
            section, name = field.split(".")
            expected[section][name] = value
    assert to_dict(_with(cell)) == to_dict(from_config_dict(expected))


def test_parts_stand_in_any_order():
    parts = ("backbone=wrn16_2", "method=byot", "recipe=lab", "augment=mixup")
    experiments = [_with(",".join(order)) for order in itertools.permutations(parts)]
    assert all(experiment == experiments[0] for experiment in experiments)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("lab", "--config: takes KEY=VALUE behind the colon, not 'lab'; did you mean recipe=lab?"),
        ("resnet50", "did you mean backbone=resnet50?"),
        ("methd", "--config: takes KEY=VALUE behind the colon, not 'methd'; did you mean method?"),
        ("method=byot,", "takes KEY=VALUE behind the colon, not ''; known are augment, backbone"),
        ("bakcbone=wrn16_2", "--config: unknown key 'bakcbone' behind the colon; did you mean ba"),
        ("method=byot,method=skdsam", "--config: method stands twice behind the colon"),
        ("backbone=resnet19", "config.model.name: unknown backbone 'resnet19'; did you mean res"),
        ("backbone=", "config.model.name: unknown backbone ''"),
        ("method=skdsan", "config.method.name: unknown method 'skdsan'; did you mean skdsam?"),
        ("recipe=labs", "recipe: unknown value 'labs'; did you mean lab?"),
        ("augment=mixpu", "augment: unknown value 'mixpu'; did you mean mixup?"),
        (
            "augment=sla",
            "augment: sla is part of a method; write method=skdsam_sla or method=sla_sd",
        ),
        ("augment=mixup+sla", "augment: sla is part of a method"),
        ("augment=mixup+", "augment: unknown value ''; known are cutmix, cutout, mixup"),
        ("augment=cutmix+mixup", "augment: takes mixup or cutmix, not both; cutmix is there alre"),
        ("augment=cutout+mixup+cutmix", "augment: takes mixup or cutmix, not both; mixup is ther"),
        ("augment=mixup+mixup", "augment: mixup stands twice"),
        ("augment=mixup+cutout,recipe=lab", "augment: the recipe lab holds a Cutout already"),
        ("augment=cutout,recipe=lab", "augment: the recipe lab holds a Cutout already"),
    ],
)
def test_what_cannot_be_is_one_line(cell, message):
    with pytest.raises(ConfigError) as error:
        _with(cell)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
