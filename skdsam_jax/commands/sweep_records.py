"""Which runs of a sweep are finished: by their workdirs, or by records that outlive these."""

import json
import pathlib
import shutil
from collections.abc import Sequence

from skdsam_jax import older_runs
from skdsam_jax.commands.sweep_plan import Run
from skdsam_jax.experiment.config import differences, from_config_dict, left_to_the_run, to_dict
from skdsam_jax.options import ConfigError

# What a record is made of: the numbers of a run, without its network.
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


def check_records(runs: Sequence[Run]) -> None:
    """Looks whether finished records are those of the runs that they stand for.

    Raises:
      ConfigError: a record is of another experiment; the message names the fields.
    """
    for run in runs:
        if run.record is None or not is_finished(run.record):
            continue
        summary = run.record / "summary.json"
        try:
            config = older_runs.complete(json.loads(summary.read_text())["config"])
            recorded = to_dict(from_config_dict(config))
        except (KeyError, TypeError, ConfigError):
            raise ConfigError(f"--done: {summary} does not say what was run") from None
        apart = left_to_the_run(run.experiment)
        changed = differences(recorded, to_dict(run.experiment), apart)
        if changed:
            raise ConfigError(f"--done: {summary} is of another config: {'; '.join(changed)}")


def keep_record(run: Run) -> None:
    """Copies the record of a finished run to its place, if it has one and is not there yet."""
    if run.record is None or is_finished(run.record):
        return
    run.record.mkdir(parents=True, exist_ok=True)
    # The summary, which says that it is finished, comes last and whole.
    for name in _FILES:
        partial = run.record / f".{name}.partial"
        shutil.copyfile(run.folder / name, partial)
        partial.replace(run.record / name)
