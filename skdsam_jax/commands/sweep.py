"""Runs a table of the thesis.

    python -m skdsam_jax sweep --table 4.15 --seeds 0,1,2 --workdir runs/table-4.15

Every cell is a run of `train.py` in a process of its own, in WORKDIR/CELL/seed-N. The same command
goes on where it stopped: finished runs are skipped, unfinished ones resumed. A run that fails is
reported and does not keep the others from running. `--config.FIELD=VALUE` goes to every run. Ctrl-C
and SIGTERM stop the run in progress, which saves first.
"""

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

from skdsam_jax.commands.command_line import EXIT_INTERRUPTED
from skdsam_jax.experiment.thesis_tables import TABLES, Cell, Table
from skdsam_jax.options import ConfigError, known
from skdsam_jax.signals import StopRequest


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


def find_table(number: str) -> Table:
    """The table of a number.

    Raises:
      ConfigError: there is no such table.
    """
    if number not in TABLES:
        raise ConfigError(f"--table: unknown table {number!r}; {known(number, TABLES)}")
    return TABLES[number]


def commands(
    cells: Sequence[Cell], seeds: Sequence[int], workdir: pathlib.Path, overrides: Sequence[str]
) -> Iterator[tuple[pathlib.Path, list[str]]]:
    """The folder and the flags of every run, all cells with the first seed before the second."""
    for seed in seeds:
        for cell in cells:
            folder = workdir / cell.name / f"seed-{seed}"
            fields = (*cell.changes, ("seed", seed))
            flags = [f"--config.{name}={value}" for name, value in fields]
            yield folder, [f"--config={cell.config}", f"--workdir={folder}", *flags, *overrides]


def is_finished(folder: pathlib.Path) -> bool:
    """Whether the run in `folder` has taken all its epochs."""
    try:
        return bool(json.loads((folder / "summary.json").read_text())["finished"])
    except (OSError, ValueError, KeyError):
        return False


def run_all(
    runs: Iterator[tuple[pathlib.Path, list[str]]], program: Sequence[str]
) -> tuple[int, list[str]]:
    """Runs what is not finished, one after another.

    Args:
      runs: folder and flags of each.
      program: what the flags are given to.

    Returns:
      How many are finished now, and a line for each that failed.

    Raises:
      StoppedError: SIGINT or SIGTERM came, to this process or to the run that was in progress.
    """
    finished, failures = 0, []
    with _Relay() as relay:
        for folder, flags in runs:
            if is_finished(folder):
                print(f"{folder}: finished already", flush=True)
                finished += 1
                continue
            print(f"{folder}: {' '.join(flags)}", flush=True)
            code = relay.run([*program, *flags])
            if relay.requested or code == EXIT_INTERRUPTED:
                raise StoppedError
            if code == 0:
                finished += 1
            else:
                failures.append(f"{folder}: failed with code {code}")
                print(failures[-1], file=sys.stderr, flush=True)
    return finished, failures


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code: 0 if every run is finished."""
    parser = argparse.ArgumentParser(
        prog="python -m skdsam_jax sweep",
        usage="%(prog)s --table N --workdir DIR [--seeds 0,1,2] [--config.FIELD=VALUE ...]",
        description=__doc__,
        epilog=_describe_tables(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--table", metavar="N", required=True, help="the thesis' number, see below")
    parser.add_argument(
        "--workdir", metavar="DIR", required=True, type=pathlib.Path, help="the runs' folder"
    )
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas; 0,1,2 if not given")
    parser.add_argument("--train", default="train.py", type=pathlib.Path, help=argparse.SUPPRESS)
    options, overrides = parser.parse_known_args(arguments)
    try:
        cells, seeds = find_table(options.table).cells, _seeds(options.seeds)
        _check(options.train, overrides)
        runs = commands(cells, seeds, options.workdir, overrides)
        finished, failures = run_all(runs, [sys.executable, str(options.train)])
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StoppedError:
        print("stopped; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(f"table {options.table}: {finished} of {len(cells) * len(seeds)} runs are finished")
    return 1 if failures else 0


def _describe_tables() -> str:
    lines = [
        f"  {number:<4}  {table.title} ({len(table.cells)} runs a seed)"
        for number, table in TABLES.items()
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
