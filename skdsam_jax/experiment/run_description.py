"""What a run was, in words that tell it from every run that it must not be averaged with.

What it was computed on is no part of that: it changes digits by rounding alone.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from skdsam_jax import older_runs
from skdsam_jax.experiment.config import decisive_fields, from_config_dict, to_dict
from skdsam_jax.experiment.recipes import RECIPE_FIELDS, name_recipe
from skdsam_jax.methods import current_name
from skdsam_jax.models.layers import DEFAULT_CONVOLUTION
from skdsam_jax.references import is_reference

# Fields that a row or the heading of its table says by other words than FIELD=VALUE.
_SAID = (
    "seed",
    "method.name",
    "model.name",
    "data.name",
    "data.image_size",
    "data.train_examples",
    "training.epochs",
    "training.batch_size",
    "training.compute_dtype",
    *RECIPE_FIELDS,
)


@dataclasses.dataclass(frozen=True, order=True)
class RunDescription:
    """A run, its seed aside, in the order of a page; runs of equal words share a row.

    Attributes:
      table: data set, image size, how many images of a part of it were trained on, and recipe.
      model: the backbone.
      parameters: how many are trained.
      method: with the options that are not its defaults.
      network: the backbone with its options.
      additions: to the recipe; plain runs come first in a table.
      recipe: its name.
      schedule: epochs of batch, and type.
      changes: all others, as FIELD=VALUE.
    """

    table: str
    model: str
    parameters: int
    method: str
    network: str
    additions: tuple[str, ...]
    recipe: str
    schedule: tuple[str, ...]
    changes: tuple[str, ...]

    @property
    def training(self) -> str:
        """Recipe, additions, schedule and changes."""
        parts = " + ".join((self.recipe, *self.additions)), *self.schedule
        return ", ".join(parts) + _in_brackets(self.changes)


def describe(
    summary: Mapping[str, Any], teachers: Mapping[str, Mapping[str, Any]] = {}
) -> RunDescription:
    """What a run was, completed by `older_runs` and then by today's defaults.

    Args:
      summary: of the run.
      teachers: SHA-256 of a run's variables to its summary. A run that one of them taught, or that
        started from one, says what that was as far as it was another, seed aside; otherwise the
        beginning of its SHA-256.
    """
    method_name = current_name(summary["method"])
    defaults, fields = defaults_of(method_name), settings_of(summary)
    changed = {name: value for name, value in fields.items() if value != defaults.get(name)}
    others = {name: value for name, value in changed.items() if name not in _SAID}
    method = {name: others.pop(name) for name in list(others) if name.startswith("method.")}
    model = {name: others.pop(name) for name in list(others) if name.startswith("model.")}
    teacher = method.pop("method.teacher_sha256", None)
    initial = model.pop("model.initial_sha256", None)
    recipe, additions = name_recipe(fields)
    own_recipe = _words_of({name: changed[name] for name in RECIPE_FIELDS if name in changed})
    size = fields["data.image_size"]
    table = summary["dataset"]
    if fields["data.name"] == "folder":
        # Earlier versions did not look at what is in it.
        fingerprint = summary.get("dataset_fingerprint")
        table += f" (a folder, {fingerprint})" if fingerprint else " (a folder)"
    table += f" at {size} pixels" if size else ""
    examples = fields["data.train_examples"]
    table += f", {examples:,} training images" if examples else ""
    table += f", recipe {recipe}" if recipe else f", own recipe{_in_brackets(own_recipe)}"
    # The run itself, to which those that it learned from are compared.
    itself = RunDescription(
        table=table,
        model=summary["model"],
        parameters=summary["parameters"],
        method=method_name,
        network=summary["model"] + _in_brackets(_words_of(model)),
        additions=additions,
        recipe=recipe or "own recipe",
        schedule=(
            f"{fields['training.epochs']} epochs of batch {fields['training.batch_size']}",
            fields["training.compute_dtype"],
        ),
        changes=_words_of(others),
    )
    if teacher is not None:
        method["method.teacher"] = _name_run(teacher, teachers, itself)
    if initial is not None:
        model["model.initial"] = _name_run(initial, teachers, itself)
    return dataclasses.replace(
        itself,
        method=method_name + _in_brackets(_words_of(method)),
        network=summary["model"] + _in_brackets(_words_of(model)),
    )


def settings_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run's config that decide its numbers, also those that it did not have."""
    given = decisive_fields(older_runs.complete(summary["config"]))
    # What is left to the run is as this version begins it.
    form = given["model.convolution"] or DEFAULT_CONVOLUTION
    method = current_name(summary["method"])
    return defaults_of(method) | given | {"method.name": method, "model.convolution": form}


def _name_run(sha256: str, runs: Mapping[str, Mapping[str, Any]], own: RunDescription) -> str:
    """What the run of that SHA-256 was, as far as it differs from `own`."""
    if sha256 not in runs:
        return f"{sha256[:12]}..."
    words = describe(runs[sha256], runs)
    named = words.method if words.network == own.network else f"{words.method} on {words.network}"
    table = [words.table] if words.table != own.table else []
    training = [words.training] if words.training != own.training else []
    alike = words.network == own.network or not table or not training
    return ", ".join([named, *table, *training, *(["else alike"] if alike else [])])


@functools.cache
def defaults_of(method: str) -> dict[str, Any]:
    """The fields that decide the numbers of an experiment with this method, all at their defaults.

    A method of one's own, whose module may be gone, has none of its own options here.
    """
    if is_reference(method):
        fields = defaults_of("cross_entropy").items()
        return {name: value for name, value in fields if not name.startswith("method.")}
    fields = decisive_fields(to_dict(from_config_dict({"method": {"name": method}})))
    return fields | {"model.convolution": DEFAULT_CONVOLUTION}


def _words_of(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Such as "width=16"."""
    # Of the evaluation's fields alone the last name does not say what it is of.
    short = (name if name.startswith("evaluation.") else name.partition(".")[2] for name in fields)
    return tuple(f"{name}={value}" for name, value in zip(short, fields.values(), strict=True))


def _in_brackets(words: tuple[str, ...]) -> str:
    """Such as " (width=16)", or nothing."""
    return f" ({', '.join(words)})" if words else ""
