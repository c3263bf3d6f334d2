"""Runs of a sweep as processes: one after another, or one on each device at a time."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from skdsam_jax.commands.command_line import EXIT_INTERRUPTED
from skdsam_jax.commands.sweep_plan import Run
from skdsam_jax.signals import StopRequest


class StoppedError(Exception):
    """The sweep was asked to stop, and no run of it is left running."""


@dataclasses.dataclass(frozen=True)
class Lane:
    """Where runs are made, one at a time.

    Attributes:
      environment: variables that say which devices its runs see, beside those of the sweep.
    """

    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


class _Relay(StopRequest):
    """Runs commands, and passes SIGINT and SIGTERM on to them as SIGTERM.

    A run takes long to save, so it is waited for however long it takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._processes: set[subprocess.Popen] = set()

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], log: pathlib.Path | None
    ) -> tuple[int, float]:
        """The exit code of a command and the seconds it took; what it says goes to `log`."""
        start = time.monotonic()
        if log is None:
            return self._wait(subprocess.Popen(command, env=environment)), time.monotonic() - start
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
            return self._wait(process), time.monotonic() - start

    def stop(self) -> None:
        """Asks everything that runs to stop."""
        self.requested = True
        for process in tuple(self._processes):
            process.terminate()

    def note(self, number: int) -> None:
        """Tells the commands that run."""
        super().note(number)
        self.stop()

    def _wait(self, process: subprocess.Popen) -> int:
        with process:
            self._processes.add(process)
            if self.requested:  # Before there was a process to tell.
                process.terminate()
            code = process.wait()
        self._processes.discard(process)
        return code


def is_finished(folder: pathlib.Path) -> bool:
    """Whether the run in `folder` has taken all its epochs."""
    try:
        return bool(json.loads((folder / "summary.json").read_text())["finished"])
    except (OSError, ValueError, KeyError):
        return False


def run_all(
    runs: Sequence[Run], program: Sequence[str], lanes: Sequence[Lane] = (Lane(),)
) -> tuple[int, list[str]]:
    """Runs what is not finished, in order, as many at a time as there are lanes.

    A run whose teacher is still to be trained waits for it, and later ones go first. With several
    lanes what the run in FOLDER says goes to FOLDER.log.

    Args:
      runs: in their order; a teacher comes before who learns from it.
      program: what their flags are given to.
      lanes: where runs are made.

    Returns:
      How many are finished now, and a line for each that failed.

    Raises:
      StoppedError: SIGINT or SIGTERM came, to this process or to a run that was in progress.
    """
    waiting = [run for run in runs if not is_finished(run.folder)]
    for run in runs:
        if run not in waiting:
            print(f"{run.folder}: finished already", flush=True)
    finished, failures = len(runs) - len(waiting), []
    estimate = _Estimate()
    free = list(lanes)
    running: dict[concurrent.futures.Future, tuple[Run, Lane, bool]] = {}

    def fail(line: str) -> None:
        failures.append(line)
        print(line, file=sys.stderr, flush=True)

    with _Relay() as relay, concurrent.futures.ThreadPoolExecutor(len(lanes)) as executor:
        while waiting or running:
            busy = {run.folder for run in waiting} | {run.folder for run, *_ in running.values()}
            ready = [run for run in waiting if run.teacher not in busy]
            if free and ready:
                run = ready[0]
                waiting.remove(run)
                if run.teacher is not None and not is_finished(run.teacher):
                    fail(f"{run.folder}: not begun, as its teacher {run.teacher} failed")
                    continue
                print(f"{run.folder}: {run.reads}: {' '.join(run.flags)}", flush=True)
                lane, is_new = free.pop(0), not run.folder.exists()
                log = run.folder.with_name(f"{run.folder.name}.log") if len(lanes) > 1 else None
                environment = {**os.environ, **lane.environment}
                future = executor.submit(relay.run, [*program, *run.flags], environment, log)
                running[future] = run, lane, is_new
                continue
            done, _ = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                run, lane, is_new = running.pop(future)
                free.append(lane)
                code, seconds = future.result()
                if relay.requested or code == EXIT_INTERRUPTED:
                    relay.stop()
                    raise StoppedError
                if code:
                    fail(f"{run.folder}: failed with code {code}")
                    continue
                finished += 1
                if is_new:
                    estimate.add(run, seconds)
                rest = [*waiting, *(run for run, *_ in running.values())]
                left = estimate.describe(rest, len(lanes))
                print(f"{finished} of {len(runs)} runs are finished{left}", flush=True)
    return finished, failures


class _Estimate:
    """How long runs will take, as those before them took, by the images that each reads."""

    def __init__(self) -> None:
        self._seconds, self._passes = 0.0, 0

    def add(self, run: Run, seconds: float) -> None:
        """`run` was made from its first step to its last."""
        self._seconds += seconds
        self._passes += run.passes

    def describe(self, runs: Sequence[Run], lanes: int) -> str:
        """In words, for `runs` that are not finished; empty if nothing is known or left."""
        if not runs or not self._passes:
            return ""
        passes = sum(run.passes for run in runs)
        minutes = round(self._seconds / self._passes * passes / lanes / 60)
        return f", about {minutes // 60}:{minutes % 60:02d} hours left"
