"""The argument of a config file: which cell of a table its family is to train.

    --config configs/cifar100.py:backbone=wrn16_2,method=byot,recipe=lab,augment=mixup

Every part may be left out and stand anywhere; what is added to a recipe may be several,
`augment=cutout+mixup` or `augment=cutout+cutmix`. What a cell says holds before
`--config.FIELD=VALUE`.
"""

from collections.abc import Iterable

import ml_collections

from skdsam_jax.experiment.recipes import ADDITIONS, RECIPES, add_augmentation, use_recipe
from skdsam_jax.methods import METHODS, find_method
from skdsam_jax.models import BACKBONES, find_backbone
from skdsam_jax.options import ConfigError, known

_VALUES: dict[str, Iterable[str]] = {
    "backbone": BACKBONES,
    "method": METHODS,
    "recipe": RECIPES,
    "augment": ADDITIONS,
}


def use_cell(config: ml_collections.ConfigDict, cell: str) -> None:
    """Sets what `cell` says of backbone, method, recipe and augmentation.

    Args:
      config: an experiment of `config.default_config`'s shape.
      cell: parts `backbone=`, `method=`, `recipe=` (thesis, lab, finetune) and `augment=` (cutout,
        mixup or cutmix, or cutout and one of these, as in cutout+mixup), separated by commas; what
        is left out stays as it is in `config`.

    Raises:
      ConfigError: a part that is none of these or stands twice, or a value that there is not.
    """
    parts = _read(cell)
    if "backbone" in parts:
        find_backbone(parts["backbone"])
        config.model.name = parts["backbone"]
    if "method" in parts:
        find_method(parts["method"])
        config.method.name = parts["method"]
    # A recipe says which Cutout it holds, so what is added to it comes after it.
    if "recipe" in parts:
        use_recipe(config, parts["recipe"])
    if "augment" in parts:
        _augment(config, parts["augment"].split("+"))


def _augment(config: ml_collections.ConfigDict, names: list[str]) -> None:
    """Adds each of `names` to the recipe."""
    for place, name in enumerate(names):
        if name == "sla":
            found = (name for name in METHODS if "sla" in name.split("_"))
            methods = " or ".join(f"method={name}" for name in found)
            raise ConfigError(f"augment: sla is part of a method; write {methods}")
        if name in names[:place]:
            raise ConfigError(f"augment: {name} stands twice")
        add_augmentation(config, name)


def _read(cell: str) -> dict[str, str]:
    """The parts of a cell by their keys."""
    parts: dict[str, str] = {}
    for part in cell.split(",") if cell else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(
                f"--config: takes KEY=VALUE behind the colon, not {part!r}; {_meant(part)}"
            )
        if key not in _VALUES:
            raise ConfigError(
                f"--config: unknown key {key!r} behind the colon; {known(key, _VALUES)}"
            )
        if key in parts:
            raise ConfigError(f"--config: {key} stands twice behind the colon")
        parts[key] = value
    return parts


def _meant(part: str) -> str:
    """Says of which key a bare word is a value, or which keys there are."""
    for key, values in _VALUES.items():
        if part in values:
            return f"did you mean {key}={part}?"
    return known(part, _VALUES)
