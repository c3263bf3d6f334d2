"""Packages that only some formats need, imported when they are."""

import importlib
from types import ModuleType

from skdsam_jax.installation import install_command
from skdsam_jax.options import ConfigError


def require(name: str, what: str, extra: str = "export") -> ModuleType:
    """Imports a module of an optional package.

    Args:
      name: of the module.
      what: needs it, the beginning of the message.
      extra: of this package that installs it.

    Raises:
      ConfigError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        package = name.partition(".")[0]
        raise ConfigError(f"{what} needs the package {package}: {install_command(extra)}") from None
