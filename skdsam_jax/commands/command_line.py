"""What commands share: flags that hold a config, and errors that end in one line."""

import argparse
import gc
import logging
import sys
from collections.abc import Callable, Mapping, Sequence

from absl import flags
from absl import logging as absl_logging
from ml_collections import config_flags

from skdsam_jax.commands import given_flags
from skdsam_jax.options import ConfigError

EXIT_BAD_INPUT = 2
EXIT_NOT_FINITE = 3
EXIT_INTERRUPTED = 75
EXIT_ENDED = 130


def run(command: Callable[[], None]) -> int:
    """Runs `command`; what a user can cause ends in one line on stderr and an exit code."""
    from skdsam_jax.training import CheckpointError, InterruptedRunError, NonFiniteError

    # Looking for garbage among what a trace has made so far takes a sixth of its time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
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
    except KeyboardInterrupt:  # Before there was anything to save, or after.
        print("error: ended by Ctrl-C", file=sys.stderr)
        return EXIT_ENDED
    return 0


def add_which(parser: argparse.ArgumentParser) -> None:
    """Adds `--which`, the checkpoint of a run: what `skdsam_jax.load` takes for it."""
    parser.add_argument(
        "--which",
        default="latest",
        type=lambda text: int(text) if text.isdecimal() else text,
        help="the checkpoint: latest (default), best or a step",
    )


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


def print_help(argv: Sequence[str], usage: str) -> bool:
    """Prints a command's usage if the flags ask for it: `--help`, or `--helpfull` with all fields.

    Args:
      argv: the program's name and its flags.
      usage: of the command, without the fields of a config.

    Returns:
      Whether they did.
    """
    everything = "--helpfull" in argv[1:]
    if not everything and not {"--help", "-h"} & set(argv[1:]):
        return False
    from skdsam_jax.commands import field_help

    print(usage, *(field_help.every_field() if everything else field_help.choices()), sep="\n")
    return True


def parse(argv: Sequence[str], values: flags.FlagValues, required: Mapping[str, str]) -> None:
    """Parses flags.

    Args:
      argv: the program's name and its flags.
      values: of `define_config_flag`, takes the result.
      required: the flags that must be given, each with an example.

    Raises:
      ConfigError: instead of whatever the parsers raise.
    """
    method = given_flags.own_method(argv)
    if method is None:
        _parse(argv, values, required)
        return
    from skdsam_jax.experiment.config import fields_of

    with fields_of(method):
        _parse(argv, values, required)


def _parse(argv: Sequence[str], values: flags.FlagValues, required: Mapping[str, str]) -> None:
    given_flags.check(argv, values)
    argv = given_flags.with_files(argv)
    try:
        _, *rest = values(argv)
        if values["config"].value is not None:
            # A file that could not be read says so only when it is looked into.
            values["config"].value.to_dict()
    except flags.UnrecognizedFlagError as error:
        flag = error.flagvalue
        raise ConfigError(
            f"{flag}: unknown flag; {given_flags.suggest(flag, list(values))}"
        ) from None
    except Exception as error:  # A config file is a program: it raises anything.
        last_line = str(error).strip().splitlines()[-1:]
        reason = last_line[0] if last_line else type(error).__name__
        # Of what a config file raised, ml_collections passes on the printed trace.
        reason = reason.removeprefix(f"{ConfigError.__module__}.{ConfigError.__name__}: ")
        raise ConfigError(reason) from None
    if rest:
        raise ConfigError(f"{rest[0]}: unknown argument; flags begin with --")
    for name, example in required.items():
        if values[name].value is None:
            raise ConfigError(f"--{name} is missing; for example --{name} {example}")
