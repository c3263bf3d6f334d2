"""What commands share: flags that hold a config, and errors that end in one line."""

import logging
import pathlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags
from absl import logging as absl_logging
from ml_collections import config_flags

from skdsam_jax.options import ConfigError, known

EXIT_BAD_INPUT = 2
EXIT_NOT_FINITE = 3
EXIT_INTERRUPTED = 75


def run(command: Callable[[], None]) -> int:
    """Runs `command`; what a user can cause ends in one line on stderr and an exit code."""
    from skdsam_jax.training import CheckpointError, InterruptedRunError, NonFiniteError

    logging.basicConfig(level=logging.WARNING)
    # The handler may be one that was there: importing Orbax makes one, with names in its format.
    for handler in logging.root.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(logging.Formatter("%(message)s"))
    absl_logging.set_verbosity(absl_logging.WARNING)
    # A read that Orbax abandons is reported by `Checkpoints`, in one line.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    codes = {
        ConfigError: EXIT_BAD_INPUT,
        CheckpointError: EXIT_BAD_INPUT,
        NonFiniteError: EXIT_NOT_FINITE,
        InterruptedRunError: EXIT_INTERRUPTED,
    }
    try:
        command()
    except tuple(codes) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return next(code for kind, code in codes.items() if isinstance(error, kind))
    return 0


def define_config_flag(argv: Sequence[str]) -> flags.FlagValues:
    """New flags that hold `--config`; a command adds its own to them."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config",
        None,
        "",
        lock_config=True,
        sys_argv=list(argv),
        flag_values=values,
    )
    return values


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether the flags ask what there is."""
    return bool({"--help", "-h", "--helpfull"} & set(argv[1:]))


def print_help(usage: str) -> None:
    """Prints a command's usage, and every field of a config."""
    from skdsam_jax.experiment.config import describe_fields

    print(usage, *describe_fields(), sep="\n")


def parse(argv: Sequence[str], values: flags.FlagValues, required: Mapping[str, str]) -> None:
    """Parses flags.

    Args:
      argv: the program's name and its flags.
      values: of `define_config_flag`, takes the result.
      required: the flags that must be given, each with an example.

    Raises:
      ConfigError: instead of whatever the parsers raise.
    """
    for flag in argv[1:]:
        if match := re.match(r"--?(?:no)?config\.([^=]+)", flag):
            _check_field(match[1])
    try:
        _, *rest = values(list(argv))
        if values["config"].value is not None:
            # A file that could not be read says so only when it is looked into.
            values["config"].value.to_dict()
    except Exception as error:  # A config file is a program: it raises anything.
        path = pathlib.Path(_config_path(argv))
        if path.name and not path.is_file():
            raise ConfigError(f"--config: there is no file {path}") from None
        last_line = str(error).strip().splitlines()[-1:]
        reason = last_line[0] if last_line else type(error).__name__
        # Of what a config file raised, ml_collections passes on the printed trace.
        reason = reason.removeprefix(f"{ConfigError.__module__}.{ConfigError.__name__}: ")
        raise ConfigError(reason.replace("Unknown command line flag", "unknown flag")) from None
    if rest:
        raise ConfigError(f"{rest[0]}: unknown argument; flags begin with --")
    for name, example in required.items():
        if values[name].value is None:
            raise ConfigError(f"--{name} is missing; for example --{name} {example}")


def _check_field(path: str) -> None:
    """Raises a ConfigError if no config has a field at `path`, such as "training.epochs"."""
    from skdsam_jax.experiment.config import default_config

    section: Any = default_config().to_dict()
    where = "config"
    for name in path.split("."):
        if not isinstance(section, Mapping):
            raise ConfigError(f"{where}: has no fields of its own, so no {name}")
        where = f"{where}.{name}"
        if name not in section:
            raise ConfigError(f"{where}: unknown field; {known(name, section)}")
        section = section[name]


def _config_path(argv: Sequence[str]) -> str:
    """The file that the last --config names, without the argument behind its colon."""
    path = ""
    for flag, following in zip(argv, [*argv[1:], ""], strict=True):
        name, _, value = flag.partition("=")
        if name in ("--config", "-config"):
            path = (value or following).partition(":")[0]
    return path
