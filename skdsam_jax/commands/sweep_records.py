"""Which runs of a sweep are finished: by their workdirs, or by records that outlive these."""

import json
import pathlib
import shutil
from collections.abc import Sequence

from skdsam_jax import older_runs
from skdsam_jax.commands.sweep_plan import Run
from skdsam_jax.experiment.config import (
    Experiment,
    differences,
    from_config_dict,
    left_to_the_run,
    to_dict,
)
from skdsam_jax.options import ConfigError

# What a record is made of: the numbers of a run, without its network. The summary, which says
# whether it is finished, comes last.
_FILES = ("metrics.jsonl", "summary.json")


def is_finished(folder: pathlib.Path) -> bool:
    """Whether the run in `folder`, or of which it is the record, has taken all its epochs."""
    try:
        return bool(json.loads((folder / "summary.json").read_text())["finished"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def unfinished(runs: Sequence[Run]) -> list[Run]:
    """Those that are still to be made, in their order.

    A run with a record is finished, unless it teaches one that is not: a record holds no network.
    """

    def is_recorded(run: Run) -> bool:
        return run.record is not None and is_finished(run.record)

    waiting = [run for run in runs if not is_finished(run.folder)]
    teachers = {run.teacher for run in waiting if not is_recorded(run)}
    return [run for run in waiting if not is_recorded(run) or run.folder in teachers]


def check_finished(runs: Sequence[Run]) -> None:
    """Looks whether what counts as finished, workdirs and records, is what is to be run.

    Raises:
      ConfigError: a folder is of another experiment; the message names the fields.
    """
    for run in runs:
        for flag, folder in (("--workdir", run.folder), ("--done", run.record)):
            if folder is not None and is_finished(folder):
                _check(flag, folder / "summary.json", run.experiment)


def _check(flag: str, summary: pathlib.Path, experiment: Experiment) -> None:
    try:
        config = older_runs.complete(json.loads(summary.read_text())["config"])
        finished = to_dict(from_config_dict(config))
    except (KeyError, TypeError, ConfigError):
        raise ConfigError(f"{flag}: {summary} does not say what was run") from None
    changed = differences(finished, to_dict(experiment), left_to_the_run(experiment))
    if changed:
        raise ConfigError(f"{flag}: {summary} is of another config: {'; '.join(changed)}")


def keep_record(run: Run) -> None:
    """Copies the record of a run to its place, if it has one and is not there yet.

    That of one whose numbers stopped being finite is kept too: it is a result. The next sweep makes
    the run again.
    """
    if run.record is None or is_finished(run.record):
        return
    run.record.mkdir(parents=True, exist_ok=True)
    # Each file whole.
    for name in _FILES:
        partial = run.record / f".{name}.partial"
        shutil.copyfile(run.folder / name, partial)
        partial.replace(run.record / name)
