"""Trains every cell of a table.

    python -m skdsam_jax sweep --table 4.15 --seeds 0,1,2 --workdir runs/table-4.15
    python -m skdsam_jax sweep --table peers --backbone wrn16_2 --seeds 0 --workdir runs/peers

Every cell is a run of `train.py` in a process of its own, in WORKDIR/CELL/seed-N. The same command
goes on where it stopped: finished runs are skipped, unfinished ones resumed. A run that fails is
reported and does not keep the others from running. `--config.FIELD=VALUE` goes to every run. Ctrl-C
and SIGTERM stop the run in progress, which saves first.

Some methods read several images for each that a step is trained on. With --equal_images they take
fewer epochs for it, in folders of their own, CELL-equal_images.
"""

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Sequence

from skdsam_jax.commands.command_line import EXIT_INTERRUPTED
from skdsam_jax.commands.sweep_plan import Run, plan
from skdsam_jax.experiment.peers_table import FAMILIES, peers_table
from skdsam_jax.experiment.tables import Table
from skdsam_jax.experiment.thesis_tables import TABLES
from skdsam_jax.options import ConfigError, find
from skdsam_jax.signals import StopRequest

_PEERS = "peers"


class StoppedError(Exception):
    """The sweep was asked to stop, and no run of it is left running."""


class _Relay(StopRequest):
    """Runs commands one at a time, and passes SIGINT and SIGTERM on to them as SIGTERM.

    A run takes long to save, so it is waited for however long it takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process: subprocess.Popen | None = None

    def run(self, command: Sequence[str]) -> int:
        """The exit code of a command."""
        with subprocess.Popen(command) as self._process:
            if self.requested:  # Before there was a process to tell.
                self._process.terminate()
            return self._process.wait()

    def note(self, number: int) -> None:
        """Tells the command that runs."""
        super().note(number)
        if self._process is not None:
            self._process.terminate()


def find_table(name: str, family: str | None = None, backbone: str | None = None) -> Table:
    """The table of a number of the thesis, or the one of all methods.

    Args:
      name: a name of `TABLES`, or "peers".
      family: the data set of "peers"; None: cifar100.
      backbone: the network of "peers"; None: resnet18.

    Raises:
      ConfigError: there is no such table, or it has a data set and a network of its own.
    """
    choice = {"family": family, "backbone": backbone}
    choice = {key: value for key, value in choice.items() if value is not None}
    if name == _PEERS:
        return peers_table(**choice)
    table = find(TABLES, name, "--table", kind="table", also=(_PEERS,))
    for flag in choice:
        raise ConfigError(f"--{flag}: only for --table {_PEERS}; table {name} has its own")
    return table


def is_finished(folder: pathlib.Path) -> bool:
    """Whether the run in `folder` has taken all its epochs."""
    try:
        return bool(json.loads((folder / "summary.json").read_text())["finished"])
    except (OSError, ValueError, KeyError):
        return False


def run_all(runs: Iterable[Run], program: Sequence[str]) -> tuple[int, list[str]]:
    """Runs what is not finished, one after another.

    Args:
      runs: in their order.
      program: what their flags are given to.

    Returns:
      How many are finished now, and a line for each that failed.

    Raises:
      StoppedError: SIGINT or SIGTERM came, to this process or to the run that was in progress.
    """
    finished, failures = 0, []
    with _Relay() as relay:
        for run in runs:
            if is_finished(run.folder):
                print(f"{run.folder}: finished already", flush=True)
                finished += 1
                continue
            if run.teacher is not None and not is_finished(run.teacher):
                failures.append(f"{run.folder}: not begun, as its teacher {run.teacher} failed")
                print(failures[-1], file=sys.stderr, flush=True)
                continue
            print(f"{run.folder}: {run.reads}: {' '.join(run.flags)}", flush=True)
            code = relay.run([*program, *run.flags])
            if relay.requested or code == EXIT_INTERRUPTED:
                raise StoppedError
            if code == 0:
                finished += 1
            else:
                failures.append(f"{run.folder}: failed with code {code}")
                print(failures[-1], file=sys.stderr, flush=True)
    return finished, failures


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code: 0 if every run is finished."""
    options, overrides = _parser().parse_known_args(arguments)
    try:
        table = find_table(options.table, options.family, options.backbone)
        _check(options.train, overrides)
        runs = plan(
            table.cells,
            _seeds(options.seeds),
            options.workdir,
            overrides,
            equal_images=options.equal_images,
        )
        finished, failures = run_all(runs, [sys.executable, str(options.train)])
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StoppedError:
        print("stopped; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(f"table {options.table}: {finished} of {len(runs)} runs are finished")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skdsam_jax sweep",
        usage="%(prog)s --table NAME --workdir DIR [--seeds 0,1,2] [--equal_images] "
        "[--family NAME] [--backbone NAME] [--config.FIELD=VALUE ...]",
        description=__doc__,
        epilog=_describe_tables(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--table", metavar="NAME", required=True, help="see below")
    add("--workdir", metavar="DIR", required=True, type=pathlib.Path, help="the runs' folder")
    add("--seeds", default="0,1,2", help="separated by commas; 0,1,2 if not given")
    add(
        "--equal_images",
        action="store_true",
        help="methods that read V images for each take 1/V of the epochs, rounded",
    )
    add("--family", help=f"of --table {_PEERS}: one of {', '.join(FAMILIES)}")
    add("--backbone", help=f"of --table {_PEERS}: resnet18 if not given")
    add("--train", default="train.py", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser


def _describe_tables() -> str:
    tables = TABLES | {_PEERS: peers_table()}
    lines = [
        f"  {name:<5}  {table.title} ({len(table.cells)} runs a seed)"
        for name, table in tables.items()
    ]
    return "\n".join(["tables:", *lines])


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds: takes numbers separated by commas, not {text!r}") from None


def _check(train: pathlib.Path, overrides: Sequence[str]) -> None:
    for flag in overrides:
        if not flag.startswith("--config."):
            raise ConfigError(f"{flag}: unknown flag; runs take --config.FIELD=VALUE")
        if flag.startswith("--config.seed="):
            raise ConfigError("--config.seed: every run has its own; use --seeds")
    if not train.is_file():
        raise ConfigError(f"there is no {train} here; run this where the project was cloned")
