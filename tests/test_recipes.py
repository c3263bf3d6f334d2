"""Recipes: complete, distinct, and what the config files make of them."""

import pytest
from config_files import experiment

from skdsam_jax.experiment.config import (
    decisive_fields,
    default_config,
    from_config_dict,
    to_dict,
)
from skdsam_jax.experiment.recipes import (
    ADDITIONS,
    RECIPE_FIELDS,
    RECIPES,
    add_augmentation,
    name_recipe,
    use_recipe,
)
from skdsam_jax.options import ConfigError
from skdsam_jax.training.optimizer import learning_rate_schedule


def test_the_thesis_recipe_is_the_default():
    config = default_config()
    before = to_dict(from_config_dict(config))
    use_recipe(config, "thesis")
    assert to_dict(from_config_dict(config)) == before


def test_the_lab_recipe_decays_after_83_166_and_240_epochs():
    lab = experiment("cifar100", "recipe=lab")
    schedule = learning_rate_schedule(lab.training, steps_per_epoch=1)
    rates = [float(schedule(epoch)) for epoch in (82, 83, 165, 166, 239, 240)]
    assert rates == pytest.approx([0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4])
    data = lab.data
    assert (data.crop_padding, data.crop_fill, data.flip) == (4, 128, True)
    assert (data.autoaugment, data.cutout, data.cutout_size) == (True, "black", None)


def test_finetune_warms_up_and_falls_as_a_cosine_on_photographs():
    birds = experiment("folder", "recipe=finetune")
    assert (birds.data.image_size, birds.training.epochs) == (224, 30)
    schedule = learning_rate_schedule(birds.training, steps_per_epoch=10)
    rates = [float(schedule(step)) for step in (0, 19, 20, 160, 299)]
    assert rates == pytest.approx([0.0005, 0.01, 0.01, 0.005, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("method", "smoothing"),
    [("skdsam", 0.1), ("cross_entropy", 0.1), ("label_smoothing", 0.0), ("ps_kd", 0.0)],
)
def test_finetune_smooths_labels_where_the_method_takes_them(method, smoothing):
    chosen = experiment("digits", f"recipe=finetune,method={method}")
    assert chosen.training.label_smoothing == smoothing


def test_what_finetune_begins_with_may_be_chosen():
    config = default_config()
    use_recipe(config, "finetune")
    config.training.epochs, config.training.learning_rate = 10, 0.003
    config.training.weight_decay, config.training.label_smoothing = 0.0, 0.0
    fields = decisive_fields(to_dict(from_config_dict(config)))
    assert name_recipe(fields) == ("finetune", ())
    # A cosine is not all that makes it one.
    assert name_recipe(fields | {"training.warmup_epochs": 5.0}) == (None, ())


def test_recipes_set_the_same_fields():
    """Otherwise one applied after another would leave something of the first."""
    assert {frozenset(fields) for fields in RECIPES.values()} == {frozenset(RECIPES["lab"])}


def test_additions():
    config = default_config()
    add_augmentation(config, "cutout")
    add_augmentation(config, "mixup")
    data = from_config_dict(config).data
    assert (data.cutout, data.mixup_alpha) == ("mean", 0.2)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "additions",
    [(), ("cutout",), ("mixup",), ("cutmix",), ("cutout", "mixup"), ("cutout", "cutmix")],
    ids="+".join,
)
def test_a_recipe_and_what_was_added_are_recognised(recipe, additions):
    config = default_config()
    if "cutout" in additions and recipe == "lab":
        recipe = "thesis"
    use_recipe(config, recipe)
    for name in reversed(additions):
        add_augmentation(config, name)
    values = to_dict(from_config_dict(config))
    fields = {f"{section}.{name}": values[section][name]
              for section, name in (field.split(".") for field in RECIPE_FIELDS)}  # fmt: skip
    assert name_recipe(fields) == (recipe, additions)
    assert name_recipe(fields | {"data.cutmix_alpha": 0.3}) == (None, ())


def test_every_field_that_is_added_decides_the_name():
    assert {field for fields in ADDITIONS.values() for field in fields} <= {*RECIPE_FIELDS}


def test_what_cannot_be_is_refused():
    config = default_config()
    with pytest.raises(ConfigError, match=r"recipe: unknown value .labs.; did you mean lab\?"):
        use_recipe(config, "labs")
    with pytest.raises(ConfigError, match=r"augment: unknown value .mix.; did you mean mixup\?"):
        add_augmentation(config, "mix")
    use_recipe(config, "lab")
    with pytest.raises(ConfigError, match="the recipe lab holds a Cutout already"):
        add_augmentation(config, "cutout")
