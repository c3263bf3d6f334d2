"""Options: frozen dataclasses whose fields know what values they take.

Every part of the library declares its settings as a frozen dataclass of `option` fields. `build`
turns a plain mapping into such a dataclass and refuses whatever the fields do not take, in one
line that names the field. Nothing here imports another module of the library.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# In a field's metadata: declared by `number`; left to a run where it is None.
_TRACED = "traced"
_FILLED_IN = "filled_in"


class ConfigError(ValueError):
    """A setting that cannot work; the message is one line that names the field."""


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[Any] | None = None,
    filled_in: bool = False,
) -> Any:
    """Declares one field of an options dataclass.

    Args:
      default: the value when none is given.
      help: what the field means, with its unit.
      minimum: the smallest value taken.
      maximum: the largest value taken.
      above: values must be larger than this.
      below: values must be smaller than this.
      choices: the only values taken.
      filled_in: whether a run that begins with None there sets the value, and keeps it.

    Returns:
      A dataclass field that carries these limits for `build`.
    """
    limits = {
        "minimum": minimum, "maximum": maximum, "above": above, "below": below, "choices": choices,
    }  # fmt: skip
    metadata = {"help": help, **limits, _FILLED_IN: filled_in}
    return dataclasses.field(default=default, metadata=metadata)


def number(default: float | None, help: str, **limits: Any) -> Any:
    """Declares a field with a float that the compiled training step takes as an argument.

    Another value then needs no compilation, so that experiments that differ in nothing else share
    one program. While a step is traced the field holds a traced scalar: code may compute with it,
    and must not decide anything by it. What decides, such as a weight whose 0 leaves a layer out,
    is an `option`.

    Args:
      default: the value when none is given; None, where the field takes it, is no number.
      help: what the field means, with its unit.
      **limits: as `option` takes them.
    """
    field = option(default, help, **limits)
    return dataclasses.field(default=default, metadata={**field.metadata, _TRACED: True})


def other_default(options: type, name: str, default: Any, help: str) -> Any:
    """Declares a field anew as another options dataclass declares it, but for default and help."""
    metadata = options.__dataclass_fields__[name].metadata
    return dataclasses.field(default=default, metadata={**metadata, "help": help})


def filled_in(options: type) -> set[str]:
    """The names of those fields of an options dataclass that a run fills in."""
    return {field.name for field in dataclasses.fields(options) if field.metadata.get(_FILLED_IN)}


def numbers_of(options: Any) -> dict[str, float]:
    """The values of those fields of an options dataclass that `number` declared, by name."""
    names = [field.name for field in dataclasses.fields(options) if field.metadata.get(_TRACED)]
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def build(cls: type[T], values: Mapping[str, Any], path: str) -> T:
    """Builds the options dataclass `cls` from `values`.

    Args:
      cls: a frozen dataclass made of `option` fields.
      values: field name to value; a missing name takes its default.
      path: where the values came from, such as "config.training"; errors name it.

    Returns:
      An instance of `cls` whose every field was checked.

    Raises:
      ConfigError: unknown field, wrong type, or a value outside the field's limits.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in fields:
            raise ConfigError(f"{path}.{name}: unknown field; {known(name, fields)}")
    checked = {
        name: check_value(value, hints[name], f"{path}.{name}", **_limits(fields[name]))
        for name, value in values.items()
    }
    return cls(**checked)


def find(
    table: Mapping[str, T],
    name: str,
    where: str,
    *,
    kind: str = "value",
    also: Iterable[str] = (),
    every: bool = False,
) -> T:
    """What `table` holds under `name`.

    Args:
      table: by name.
      name: what was given.
      where: the field or flag that it was given for.
      kind: what the table is of, such as "method".
      also: further names that may be given there.
      every: as `known` takes it.

    Raises:
      ConfigError: the table does not have the name; says which was probably meant.
    """
    if name not in table:
        meant = known(name, [*table, *also], every=every)
        raise ConfigError(f"{where}: unknown {kind} {name!r}; {meant}")
    return table[name]


def known(name: str, names: Iterable[str], *, every: bool = False) -> str:
    """Says which name was probably meant, and otherwise, or if `every`, which names there are."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1)
    listed = f"nown are {', '.join(names)}"
    if close:
        return f"did you mean {close[0]}?" + (f" K{listed}" if every else "")
    return f"k{listed}"


def check_value(value: Any, hint: Any, where: str, **limits: Any) -> Any:
    """Returns `value` as the type `hint` says.

    Args:
      value: what was given.
      hint: int, float, str, bool, a tuple of one of them, or one of these or None.
      where: the field's whole name.
      **limits: as `option` takes them; each item of a tuple is held to them.

    Raises:
      ConfigError: another type, or outside the limits.
    """
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None:
        if type(None) in kinds:
            return None
        raise ConfigError(f"{where}: takes {_describe(hint)}, not None")
    kind = next(kind for kind in kinds if kind is not type(None))
    value = _convert(value, kind, where)
    for item in value if isinstance(value, tuple) else (value,):
        _check_limits(item, limits, where)
    return value


def _limits(field: dataclasses.Field) -> dict[str, Any]:
    """The limits an `option` was declared with."""
    others = ("help", _TRACED, _FILLED_IN)
    return {name: limit for name, limit in field.metadata.items() if name not in others}


def _convert(value: Any, kind: Any, where: str) -> Any:
    """Returns `value` as a `kind`; a whole number serves as a float, nothing else changes type."""
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, (tuple, list)):
            raise ConfigError(f"{where}: takes {_describe(kind)}, not {value!r}")
        item_kind, *rest = typing.get_args(kind)
        if rest != [...] and len(value) != 1 + len(rest):
            raise ConfigError(f"{where}: takes {1 + len(rest)} values, not {len(value)}")
        return tuple(_convert(item, item_kind, where) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where}: takes {_describe(kind)}, not {value!r}")
    if kind is float and not math.isfinite(value):
        raise ConfigError(f"{where}: takes a finite number, not {value!r}")
    return value


def _check_limits(value: Any, limits: Mapping[str, Any], where: str) -> None:
    """Raises a ConfigError if `value` is outside its field's limits."""
    choices = limits.get("choices")
    if choices is not None and value not in choices:
        if isinstance(value, str):
            raise ConfigError(f"{where}: unknown value {value!r}; {known(value, choices)}")
        raise ConfigError(f"{where}: takes one of {', '.join(map(str, choices))}, not {value!r}")
    comparisons = {
        "minimum": ("at least", lambda limit: value >= limit),
        "maximum": ("at most", lambda limit: value <= limit),
        "above": ("more than", lambda limit: value > limit),
        "below": ("less than", lambda limit: value < limit),
    }
    for name, (words, holds) in comparisons.items():
        limit = limits.get(name)
        if limit is not None and not holds(limit):
            raise ConfigError(f"{where}: takes {words} {limit}, not {value!r}")


def _describe(hint: Any) -> str:
    """The name of a type as a user would say it."""
    names = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    if isinstance(hint, types.UnionType):
        return " or ".join(_describe(kind) for kind in typing.get_args(hint))
    if hint is type(None):
        return "None"
    if typing.get_origin(hint) is tuple:
        return "a list of values"
    return names.get(hint, str(hint))
