"""Things of the user's own, named `module:Name` where the name of a table could stand."""

import importlib
import importlib.util
import os
import sys
import traceback
from typing import Any

from skdsam_jax.options import ConfigError, known


def is_reference(name: str) -> bool:
    """Whether `name` is of the form `module:Name`."""
    return ":" in name


def find_reference(name: str, where: str) -> Any:
    """What a module holds, found in the working directory or among what is installed.

    Args:
      name: such as "package.module:Name".
      where: the field that it was given for.

    Raises:
      ConfigError: there is no such module or name in it, or the module cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise ConfigError(f"{where}: takes module:Name, not {name!r}")
    # A script's own folder stands there already, the working directory does not. Processes that
    # decode photographs are given this path too.
    folder = os.getcwd()
    if not {"", folder} & set(sys.path):
        sys.path.append(folder)
    try:
        if importlib.util.find_spec(module_name) is None:
            raise ModuleNotFoundError(name=module_name)
        module = importlib.import_module(module_name)
    except Exception as error:  # A module is a program: it raises anything.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            raise ConfigError(
                f"{where}: there is no module {missing!r}, neither in {folder} nor installed"
            ) from None
        raise ConfigError(
            f"{where}: importing {module_name!r} failed: {_describe(error)}"
        ) from error
    if not hasattr(module, attribute):
        own = (module_name, "functools", None)  # A partial is of no module of its own.
        names = [
            other
            for other, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) in own
        ]
        raise ConfigError(
            f"{where}: module {module_name!r} has no {attribute!r}; {known(attribute, names)}"
        )
    return getattr(module, attribute)


def _describe(error: Exception) -> str:
    """What an error says and where it came from, in one line."""
    if isinstance(error, SyntaxError):
        place = f"{os.path.basename(error.filename or '?')}, line {error.lineno}"
        return f"{type(error).__name__}: {error.msg} ({place})"
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} ({os.path.basename(last.filename)}, line {last.lineno})"
