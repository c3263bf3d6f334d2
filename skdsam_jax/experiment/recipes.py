"""Named recipes: what a config file sets to train as a line of work does.

Numbers of different recipes never stand in one table. `thesis` is the thesis' section 4.1.3: crop
with black padding and flip, the learning rate divided by 10 after 40 % and 60 % of the epochs.
`lab` is how public code of the same family trains: crop with grey padding, flip, AutoAugment's
policy for CIFAR-10, a black Cutout of half the side, and the learning rate divided by 10 after 83,
166 and 240 of 250 epochs. `finetune` goes on from a network that knows images already: few epochs
of a small learning rate that warms up and falls as a cosine, at the learning rate and weight decay
of most studies (Li et al., ICLR 2020, arXiv:2002.11770), and smoothed labels where the method takes
them.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from skdsam_jax.methods import find_method
from skdsam_jax.options import ConfigError, find

_SGD_IN_STEPS: Mapping[str, Any] = {
    "training.optimizer": "sgd",
    "training.schedule": "steps",
    "training.warmup_epochs": 0.0,
}

# What tells recipes apart: all set the same fields.
RECIPES: dict[str, Mapping[str, Any]] = {
    "thesis": {
        **_SGD_IN_STEPS,
        "training.decay_at": (0.4, 0.6),
        "data.crop_fill": 0,
        "data.autoaugment": False,
        "data.cutout": "none",
    },
    "lab": {
        **_SGD_IN_STEPS,
        "training.decay_at": (83 / 250, 166 / 250, 240 / 250),
        "data.crop_fill": 128,
        "data.autoaugment": True,
        "data.cutout": "black",
    },
    "finetune": {
        "training.optimizer": "sgd",
        "training.schedule": "cosine",
        "training.warmup_epochs": 2.0,
        "training.decay_at": (0.4, 0.6),
        "data.crop_fill": 0,
        "data.autoaugment": False,
        "data.cutout": "none",
    },
}

# What a recipe sets besides, and a run may choose for itself without being of another recipe. Those
# that are not here leave it to the config file.
_BEGINNINGS: dict[str, Mapping[str, Any]] = {
    "finetune": {
        "training.epochs": 30,
        "training.learning_rate": 0.01,
        "training.weight_decay": 1e-4,
        "training.label_smoothing": 0.1,
    },
}

# What can be added to a recipe: Cutout and Mixup as the thesis' tables do, CutMix as its paper.
# Self-supervised label augmentation, the thesis' third, is a method: `skdsam_sla`.
ADDITIONS: dict[str, Mapping[str, Any]] = {
    "cutout": {"data.cutout": "mean"},
    "mixup": {"data.mixup_alpha": 0.2},
    "cutmix": {"data.cutmix_alpha": 1.0},
}

# A batch is mixed once.
_EXCLUSIVE = {"mixup": "cutmix", "cutmix": "mixup"}

# Combinations in which additions have a name.
_TOGETHER = ((), *((name,) for name in ADDITIONS), ("cutout", "mixup"), ("cutout", "cutmix"))

# The fields that a recipe and its additions decide, and what they are without either.
RECIPE_FIELDS = tuple(sorted({*RECIPES["thesis"]}.union(*ADDITIONS.values())))
_NOTHING_ADDED = {"data.mixup_alpha": 0.0, "data.cutmix_alpha": 0.0}


def use_recipe(config: ml_collections.ConfigDict, name: str) -> None:
    """Sets the fields of `config` that make up the recipe called `name`.

    Labels are smoothed by a recipe only where the method of `config` takes probabilities, and does
    not smooth them itself.

    Raises:
      ConfigError: no recipe has that name.
    """
    fields = {**find(RECIPES, name, "recipe"), **_BEGINNINGS.get(name, {})}
    method = find_method(config.method.name)
    if not method.takes_soft_labels or hasattr(method.Options, "smoothing"):
        fields.pop("training.label_smoothing", None)
    config.update_from_flattened_dict(fields)


def add_augmentation(config: ml_collections.ConfigDict, name: str) -> None:
    """Adds "cutout", "mixup" or "cutmix" to the recipe of `config`.

    Raises:
      ConfigError: no addition has that name, the recipe has a Cutout of its own, or batches are
        mixed already.
    """
    addition = find(ADDITIONS, name, "augment")
    if name == "cutout" and config.data.cutout != "none":
        raise ConfigError("augment: the recipe lab holds a Cutout already")
    other = _EXCLUSIVE.get(name)
    if other and any(config.data[field.removeprefix("data.")] for field in ADDITIONS[other]):
        raise ConfigError(f"augment: takes mixup or cutmix, not both; {other} is there already")
    config.update_from_flattened_dict(addition)


def name_recipe(fields: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The recipe of a run and what was added to it, such as "thesis" and ("mixup",).

    Args:
      fields: whole names to values; more than those of `RECIPE_FIELDS` may be there.

    Returns:
      A name of `RECIPES` and names of `ADDITIONS`; None and () where fields have values of their
      own.
    """
    found = {name: _plain(fields[name]) for name in RECIPE_FIELDS}
    for recipe, changes in RECIPES.items():
        for added in _TOGETHER:
            expected = {**_NOTHING_ADDED, **changes}
            for name in added:
                expected |= ADDITIONS[name]
            if found == expected:
                return recipe, added
    return None, ()


def _plain(value: Any) -> Any:
    """JSON knows no tuples."""
    return tuple(value) if isinstance(value, list) else value


def stream_photographs(config: ml_collections.ConfigDict) -> None:
    """Shows photographs as work on fine-grained classes does.

    Training sees random-resized crops of 224 pixels, tests the central square; the network begins
    as for ImageNet, in batches that fit at this size.
    """
    config.model.stem = "imagenet"
    config.data.pipeline = "streaming"
    config.data.crop = "resized"
    config.data.image_size = 224
    config.evaluation.batch_size = 128
