"""An experiment's settings: ml_collections files outside, frozen dataclasses inside.

A file in `configs/` starts from `default_config()` and changes what it needs. `from_config_dict`
turns the result, after overrides from the command line, into an `Experiment`; nothing behind it
sees a ConfigDict. Options of methods and backbones stand side by side in their section, unset: one
that the chosen method or backbone does not have is refused when it is set.
"""

import contextlib
import contextvars
import dataclasses
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import ml_collections

from skdsam_jax.data import DataOptions, find_dataset
from skdsam_jax.experiment.run_options import (
    CheckpointOptions,
    EvaluationOptions,
    LoggingOptions,
    TrainingOptions,
    check_training,
)
from skdsam_jax.methods import METHODS, MethodOptions, current_name, find_method
from skdsam_jax.models import ModelOptions
from skdsam_jax.options import ConfigError, build, check_value, filled_in, known
from skdsam_jax.references import is_reference

SECTIONS: dict[str, type] = {
    "model": ModelOptions,
    "data": DataOptions,
    "training": TrainingOptions,
    "evaluation": EvaluationOptions,
    "checkpoint": CheckpointOptions,
    "logging": LoggingOptions,
}

# Fields that cannot change the numbers: a run may be resumed with other values.
_FREE_FIELDS = (
    "data.data_dir",
    "data.workers",
    "evaluation.batch_size",
    "method.teacher",
    "model.initial",
)
_FREE_SECTIONS = ("checkpoint.", "logging.")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that defines a run."""

    seed: int
    method: MethodOptions
    model: ModelOptions
    data: DataOptions
    training: TrainingOptions
    evaluation: EvaluationOptions
    checkpoint: CheckpointOptions
    logging: LoggingOptions


# A method of the user's own whose options every config has fields for, while `fields_of` is open.
_own_method: contextvars.ContextVar[str | None] = contextvars.ContextVar("method", default=None)


def default_config(method: str = "skdsam") -> ml_collections.ConfigDict:
    """ResNet-18, digits, the thesis' recipe: every field there is, at its default.

    Args:
      method: its name; of module:Name, a method of the user's own, the options are fields too.

    Raises:
      ConfigError: no method has that name, or an own one gives an option another type than others.
    """
    config = ml_collections.ConfigDict({"seed": 0, "method": {"name": method}})
    find_method(method)
    own = {name for name in (method, _own_method.get()) if name and is_reference(name)}
    for name, kind in _method_fields(own).items():
        config.method[name] = ml_collections.config_dict.placeholder(kind)
    for section, cls in SECTIONS.items():
        config[section] = ml_collections.ConfigDict()
        for name, kind in _kinds(cls).items():
            default = cls.__dataclass_fields__[name].default
            config[section][name] = (
                ml_collections.config_dict.placeholder(kind) if default is None else default
            )
    config.lock()
    return config


@contextlib.contextmanager
def fields_of(method: str) -> Iterator[None]:
    """While it is open, `default_config` has fields for the options of this method of one's own.

    So that a config file, which asks for no more than `default_config()`, takes them from outside.
    """
    token = _own_method.set(method)
    try:
        yield
    finally:
        _own_method.reset(token)


def from_config_dict(config: Mapping[str, Any]) -> Experiment:
    """Builds and checks the experiment that `config` describes.

    Args:
      config: a ConfigDict of `default_config`'s shape, or the nested dict that `to_dict` gives.

    Returns:
      The experiment; its values are of the fields' types and within their limits.

    Raises:
      ConfigError: a field that cannot be; the message is one line that names it.
    """
    values = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)
    for name in values:
        if name not in ("seed", "method", *SECTIONS):
            known_names = ("seed", "method", *SECTIONS)
            raise ConfigError(f"config.{name}: unknown field; {known(name, known_names)}")
    for name in ("method", *SECTIONS):
        if not isinstance(values.setdefault(name, {}), Mapping):
            raise ConfigError(f"config.{name}: takes fields of its own, not {values[name]!r}")
    sections = {name: build(cls, values[name], f"config.{name}") for name, cls in SECTIONS.items()}
    seed = check_value(values.get("seed", 0), int, "config.seed", minimum=0, maximum=2**32 - 1)
    find_dataset(sections["data"].name)
    experiment = Experiment(seed=seed, method=_method_options(values["method"]), **sections)
    check_training(experiment.training)
    _check_labels(experiment)
    _check_batch(experiment)
    return experiment


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """The experiment as nested plain values, as `config.json` holds it."""
    return dataclasses.asdict(experiment)


def left_to_the_run(experiment: Experiment) -> set[str]:
    """The whole names of the fields that are None until a run of the experiment fills them in."""
    sections = {name: getattr(experiment, name) for name in ("method", *SECTIONS)}
    return {
        f"{section}.{name}"
        for section, options in sections.items()
        for name in filled_in(type(options))
        if getattr(options, name) is None
    }


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], apart: Collection[str] = ()
) -> list[str]:
    """Says which fields that can change a run's numbers differ between two `to_dict` results.

    Args:
      old: what was run.
      new: what is asked for.
      apart: whole names of fields that may differ.
    """
    before, after = decisive_fields(old), decisive_fields(new)
    return [
        f"config.{name}: {before.get(name)!r}, now {after.get(name)!r}"
        for name in sorted({*before, *after}.difference(apart))
        if before.get(name) != after.get(name)
    ]


def decisive_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `to_dict` result that can change a run's numbers, by their whole names.

    Args:
      values: as `to_dict` gives it, or read from JSON.

    Returns:
      Such as {"seed": 0, "training.epochs": 250}; tuples are lists.
    """
    fields = _flatten(values)
    return {
        name: value
        for name, value in fields
        if name not in _FREE_FIELDS and not name.startswith(_FREE_SECTIONS)
    }


def _method_fields(own: Iterable[str] = ()) -> dict[str, type]:
    """Every option of any method and its type; they stand side by side in one section."""
    fields: dict[str, tuple[type, str]] = {}
    for name, method in {**METHODS, **{name: find_method(name) for name in own}}.items():
        for field, kind in _kinds(method.Options).items():
            known_kind, other = fields.setdefault(field, (kind, name))
            if kind is not known_kind:
                raise ConfigError(
                    f"config.method.{field}: {kind.__name__} in method {name}, "
                    f"{known_kind.__name__} in {other}; one name has one type"
                )
    return {field: kind for field, (kind, _) in fields.items() if field != "name"}


def _method_options(values: Mapping[str, Any]) -> MethodOptions:
    """The chosen method's options; an option of another method that was set is an error."""
    name = check_value(values.get("name", "skdsam"), str, "config.method.name")
    cls = find_method(name).Options
    own = {field.name for field in dataclasses.fields(cls)}
    given = {field: value for field, value in values.items() if value is not None}
    given["name"] = current_name(name)
    for field in given:
        if field not in own and any(field in _kinds(other.Options) for other in METHODS.values()):
            takes = ", ".join(sorted(own - {"name"})) or "no options"
            raise ConfigError(f"config.method.{field}: no option of {name}, which takes {takes}")
    return build(cls, given, "config.method")


def _check_labels(experiment: Experiment) -> None:
    """Raises a ConfigError where labels become probabilities that the method cannot take."""
    name = experiment.method.name
    if find_method(name).takes_soft_labels:
        return
    for section, field in (
        ("data", "mixup_alpha"),
        ("data", "cutmix_alpha"),
        ("training", "label_smoothing"),
    ):
        value = getattr(getattr(experiment, section), field)
        if value:
            raise ConfigError(
                f"config.{section}.{field}: takes 0 with method {name}, which needs each image's "
                f"one label, not {value}"
            )


def _check_batch(experiment: Experiment) -> None:
    """Raises a ConfigError for fewer anchors than the method makes sense of."""
    name, size = experiment.method.name, experiment.training.batch_size
    minimum = find_method(name).minimum_batch
    if size < minimum:
        raise ConfigError(
            f"config.training.batch_size: takes at least {minimum} with method {name}, not {size}"
        )


def _kinds(cls: type) -> dict[str, type]:
    """Field name to the type it holds when it is set."""
    kinds = {}
    for name, hint in typing.get_type_hints(cls).items():
        if isinstance(hint, types.UnionType):
            hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
        kinds[name] = typing.get_origin(hint) or hint
    return kinds


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value
