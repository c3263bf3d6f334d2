"""What `--help` and `--helpfull` say of an experiment: its choices, and every field."""

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator

from skdsam_jax.commands.config_files import config_names
from skdsam_jax.data import DATASETS
from skdsam_jax.experiment.config import SECTIONS
from skdsam_jax.experiment.recipes import ADDITIONS, RECIPES
from skdsam_jax.methods import METHODS
from skdsam_jax.models import BACKBONES

_WIDTH = 100

# What most runs set, of each section.
_OFTEN = {
    "model": ("width",),
    "data": ("data_dir", "validation_fraction"),
    "training": ("epochs", "batch_size", "learning_rate", "compute_dtype"),
}

_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "above": "more than {}",
    "below": "less than {}",
}


def choices() -> Iterator[str]:
    """What there is to choose from, and the fields that most runs set; a few lines each."""
    yield from _list("--config NAME", config_names())
    yield from _list("NAME:method=", METHODS)
    yield from _list("NAME:backbone=", [*BACKBONES, "wrn<depth>_<widening>"])
    yield from _list("NAME:recipe=", RECIPES)
    yield from _list("NAME:augment=", ADDITIONS)
    yield from _list("--config.data.name=", DATASETS)
    yield "\nfields that are often set, with the defaults that a config file may change:\n"
    yield from _field("seed", 0, "decides every random number of a run")
    for section, names in _OFTEN.items():
        fields = {field.name: field for field in dataclasses.fields(SECTIONS[section])}
        for name in names:
            yield from _describe(section, fields[name])
    yield "\n--helpfull lists every field, with what it takes."


def every_field() -> Iterator[str]:
    """Every field in the groups of the config: name, default, what it means and what it takes."""
    yield from _list("--config NAME", config_names())
    yield "\nfields, with the defaults that a config file may change:\n"
    yield from _field("seed", 0, "decides every random number of a run")
    yield from _field("method.name", "skdsam", f"the method; one of {', '.join(METHODS)}")
    for name, method in METHODS.items():
        own = [field for field in dataclasses.fields(method.Options) if field.name != "name"]
        if own:
            yield f"\nof method {name}:"
        for field in own:
            yield from _describe("method", field)
    for section, cls in SECTIONS.items():
        yield f"\nconfig.{section}:"
        for field in dataclasses.fields(cls):
            yield from _describe(section, field)


def _list(title: str, names: Iterable[str]) -> Iterator[str]:
    yield f"{title}"
    yield from _wrapped(", ".join(names))


def _describe(section: str, field: dataclasses.Field) -> Iterator[str]:
    takes = [
        words.format(field.metadata[limit])
        for limit, words in _LIMITS.items()
        if field.metadata[limit] is not None
    ]
    if field.metadata["choices"] is not None:
        takes.append(f"one of {', '.join(map(str, field.metadata['choices']))}")
    meaning = "; ".join([field.metadata["help"], *takes])
    yield from _field(f"{section}.{field.name}", field.default, meaning)


def _field(path: str, default: object, meaning: str) -> Iterator[str]:
    yield f"  --config.{path}={default}"
    yield from _wrapped(meaning)


def _wrapped(text: str) -> list[str]:
    indent = " " * 6
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
