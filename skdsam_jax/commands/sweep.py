"""Trains every cell of a table.

    skdsam sweep --table 4.15 --seeds 0,1,2 --workdir runs/table-4.15
    skdsam sweep --table peers --backbone wrn16_2 --seeds 0 --workdir runs/peers --devices 0,1

Every cell is a run of `skdsam train` in a process of its own, in WORKDIR/CELL/seed-N. The same
command goes on where it stopped: finished runs are skipped, unfinished ones resumed. A run that
fails is reported and does not keep the others from running. A finished run of another config, such
as of another table's cell of the same name, is refused. `--config.FIELD=VALUE` goes to every
run. Ctrl-C and SIGTERM stop the runs in progress, which save first.

Before the first run begins every cell is built and its data looked for. Runs are made one after
another, or with --devices as many at a time as there are devices, each of which sees its own alone;
what they say is then in WORKDIR/CELL/seed-N.log.

Workdirs hold networks and are large. With --done a run's record, its numbers alone, is kept apart:
what is finished there is not run again, even where its workdir is gone. A run whose loss or
gradient stops being finite leaves a record that says so; it is not finished, and is run again.

Some methods read several images for each that a step is trained on. With --equal_images they take
fewer epochs for it, in folders of their own, CELL-equal_images.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from skdsam_jax.commands import given_flags
from skdsam_jax.commands.command_line import EXIT_INTERRUPTED
from skdsam_jax.commands.sweep_plan import Run, check_data, plan
from skdsam_jax.commands.sweep_records import check_finished, is_finished, unfinished
from skdsam_jax.commands.sweep_runs import Lane, StoppedError, run_all
from skdsam_jax.experiment.full_study import FULL_STUDY
from skdsam_jax.experiment.peers_table import FAMILIES, peers_table
from skdsam_jax.experiment.small_study import SMALL_TABLES
from skdsam_jax.experiment.tables import Table
from skdsam_jax.experiment.thesis_tables import TABLES
from skdsam_jax.options import ConfigError, find

_PEERS = "peers"
_TABLES = TABLES | SMALL_TABLES | {"full": FULL_STUDY}


def find_table(name: str, family: str | None = None, backbone: str | None = None) -> Table:
    """The table of a number of the thesis, of a study of ours, or the one of all methods.

    Args:
      name: a name of `TABLES` or `SMALL_TABLES`, "full" or "peers".
      family: the data set of "peers"; None: cifar100.
      backbone: the network of "peers"; None: resnet18.

    Raises:
      ConfigError: there is no such table, or it has a data set and a network of its own.
    """
    choice = {"family": family, "backbone": backbone}
    choice = {key: value for key, value in choice.items() if value is not None}
    if name == _PEERS:
        return peers_table(**choice)
    table = find(_TABLES, name, "--table", kind="table", also=(_PEERS,))
    for flag in choice:
        raise ConfigError(f"--{flag}: only for --table {_PEERS}; table {name} has its own")
    return table


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code: 0 if every run is finished."""
    options, overrides = _parser().parse_known_args(arguments)
    try:
        table = find_table(options.table, options.family, options.backbone)
        program = _program(options.train)
        _check(overrides)
        runs = plan(
            table.cells,
            _seeds(options.seeds),
            options.workdir,
            overrides,
            equal_images=options.equal_images,
            only=options.cells.split(",") if options.cells else (),
            records=options.done,
        )
        check_finished(runs)
        _check_teachers(runs)
        check_data(unfinished(runs))
        lanes = _lanes(options.devices, options.device_variable)
        if options.dry_run:
            return _show(options.table, runs)
        finished, failures = run_all(runs, program, lanes)
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
        prog="skdsam sweep",
        usage="%(prog)s --table NAME --workdir DIR [--seeds 0,1,2] [--cells NAME,...] [--dry_run] "
        "[--devices 0,1,...] [--done DIR] [--equal_images] [--family NAME] [--backbone NAME] "
        "[--config.FIELD=VALUE ...]",
        description=__doc__,
        epilog=_describe_tables(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--table", metavar="NAME", required=True, help="see below")
    add("--workdir", metavar="DIR", required=True, type=pathlib.Path, help="the runs' folder")
    add("--seeds", default="0,1,2", help="separated by commas; 0,1,2 if not given")
    add("--cells", help="only these, by names or patterns such as 'skdsam-*', with commas")
    add("--dry_run", action="store_true", help="check everything, show the runs, begin none")
    add(
        "--devices",
        help="as many runs at a time as are named, each on its own; 0,1 or, two GPUs to a run, "
        "0+1,2+3",
    )
    add(
        "--device_variable",
        default="CUDA_VISIBLE_DEVICES",
        metavar="NAME",
        help="the environment variable that tells a run its device; CUDA_VISIBLE_DEVICES if not "
        "given",
    )
    add(
        "--equal_images",
        action="store_true",
        help="methods that read V images for each take 1/V of the epochs, rounded",
    )
    add("--family", help=f"of --table {_PEERS}: one of {', '.join(FAMILIES)}")
    add("--backbone", help=f"of --table {_PEERS}: resnet18 if not given")
    add(
        "--done",
        metavar="DIR",
        type=pathlib.Path,
        help="where records are: a run counts as finished if the summary.json in "
        "DIR/CELL/seed-N says so, and leaves that and its metrics.jsonl there when it finishes",
    )
    add("--train", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser


def _describe_tables() -> str:
    tables = _TABLES | {_PEERS: peers_table()}
    lines = [
        f"  {name:<13}  {table.title} ({len(table.cells)} runs a seed)"
        for name, table in tables.items()
    ]
    return "\n".join(["tables:", *lines])


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds: takes numbers separated by commas, not {text!r}") from None


def _lanes(devices: str | None, variable: str) -> list[Lane]:
    if devices is None:
        return [Lane()]
    names = devices.split(",")
    if not all(names) or len(set(names)) < len(names):
        raise ConfigError(f"--devices: takes different names separated by commas, not {devices!r}")
    return [Lane({variable: name.replace("+", ",")}) for name in names]


def _program(train: pathlib.Path | None) -> list[str]:
    """What trains: this package, unless another program is to."""
    if train is None:
        return [sys.executable, "-m", "skdsam_jax", "train"]
    if not train.is_file():
        raise ConfigError(f"there is no {train} here")
    return [sys.executable, str(train)]


def _check(overrides: Sequence[str]) -> None:
    for flag in overrides:
        if not flag.startswith("--config."):
            raise ConfigError(f"{flag}: unknown flag; {given_flags.suggest(flag)}")
        if flag.startswith("--config.seed="):
            raise ConfigError("--config.seed: every run has its own; use --seeds")


def _check_teachers(runs: Sequence[Run]) -> None:
    folders = {run.folder for run in runs}
    for run in unfinished(runs):
        if run.teacher is not None and run.teacher not in folders and not is_finished(run.teacher):
            raise ConfigError(
                f"--cells: {run.folder.parent.name} learns from {run.teacher.parent.name}, which "
                "is not finished; choose it too"
            )


def _show(table: str, runs: Sequence[Run]) -> int:
    waiting = unfinished(runs)
    for run in runs:
        state = run.reads if run in waiting else "finished already"
        print(f"{run.folder}: {state}: {' '.join(run.flags)}")
    finished = len(runs) - len(waiting)
    print(f"table {table}: {finished} of {len(runs)} runs are finished; nothing was begun")
    return 0
