"""Mistakes in flags that the parsers of absl and ml_collections let pass or explain badly."""

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from skdsam_jax.commands.config_files import find_config
from skdsam_jax.options import ConfigError, known
from skdsam_jax.references import is_reference

_FIELD = re.compile(r"--?(?:no)?config\.([^=]+)")


def check(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Looks at every flag before it is parsed.

    Args:
      argv: the program's name and its flags.
      values: the flags that there are.

    Raises:
      ConfigError: a field that no config has, or a flag that would take the next one as its value.
    """
    for flag in argv[1:]:
        if match := _FIELD.match(flag):
            _find_field(match[1])
    for flag, following in itertools.pairwise(argv[1:]):
        if following.startswith("--") and _takes_value(flag, values):
            raise ConfigError(f"{flag}: a value is missing before {following}")


def own_method(argv: Sequence[str]) -> str | None:
    """The method of the user's own, module:Name, that the last flag to name a method names."""
    names = re.findall(
        r"^--?config(?:\.method\.name=|=?[^=:]*:(?:.*,)?method=)([^,\n]+)",
        "\n".join(argv[1:]).replace("--config\n", "--config="),
        re.MULTILINE,
    )
    return names[-1] if names and is_reference(names[-1]) else None


def with_files(argv: Sequence[str]) -> list[str]:
    """The flags with the file that each `--config` names; see `find_config`.

    Raises:
      ConfigError: there is no such file.
    """
    made, follows = [], False
    for argument in argv:
        name, equals, value = argument.partition("=")
        is_config = name in ("--config", "-config")
        if is_config and equals:
            argument = f"{name}={_found(value)}"
        elif follows:
            argument = _found(argument)
        follows = is_config and not equals
        made.append(argument)
    return made


def suggest(flag: str, others: Sequence[str] = ()) -> str:
    """What was probably meant by a flag that there is not.

    Args:
      flag: as it was given, such as "--epochs=3".
      others: names of the flags that there are.

    Returns:
      The fields of a config that are called so, or what is spelt nearly so, as flags.
    """
    fields: dict[str, list[str]] = {}
    for path in _paths(_defaults()):
        fields.setdefault(path.rpartition(".")[2], []).append(f"config.{path}")
    fields = {other: [other] for other in others} | fields
    name, equals, value = flag.lstrip("-").partition("=")
    close = difflib.get_close_matches(name, fields, n=1)
    if not close:
        return "fields are set with --config.FIELD=VALUE, and --helpfull lists them"
    return f"did you mean {' or '.join(f'--{path}{equals}{value}' for path in fields[close[0]])}?"


def _found(value: str) -> str:
    path, colon, cell = value.partition(":")
    return f"{find_config(path)}{colon}{cell}"


def _takes_value(flag: str, values: flags.FlagValues) -> bool:
    """Whether a flag without `=` takes what follows it."""
    if "=" in flag or not flag.startswith("-"):
        return False
    if match := _FIELD.match(flag):
        return not isinstance(_find_field(match[1]), bool)
    name = flag.lstrip("-")
    return name in values and not values[name].boolean


def _find_field(path: str) -> Any:
    """The default of the field at `path`, such as "training.epochs".

    Raises:
      ConfigError: no config has such a field.
    """
    section: Any = _defaults()
    where = "config"
    for name in path.split("."):
        if not isinstance(section, Mapping):
            raise ConfigError(f"{where}: has no fields of its own, so no {name}")
        where = f"{where}.{name}"
        if name not in section:
            raise ConfigError(f"{where}: unknown field; {known(name, section)}")
        section = section[name]
    return section


def _defaults() -> dict[str, Any]:
    from skdsam_jax.experiment.config import default_config

    return default_config().to_dict()


def _paths(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
