"""Runs of a sweep as processes: one after another, or one on each device at a time."""

import concurrent.futures
import dataclasses
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from skdsam_jax.commands.command_line import EXIT_INTERRUPTED, EXIT_NOT_FINITE
from skdsam_jax.commands.sweep_plan import Run
from skdsam_jax.commands.sweep_records import is_finished, keep_record, unfinished
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


def run_all(
    runs: Sequence[Run], program: Sequence[str], lanes: Sequence[Lane] = (Lane(),)
) -> tuple[int, list[str]]:
    """Runs what is not finished, in order, as many at a time as there are lanes.

    A run whose teacher is still to be trained waits for it, and later ones go first. With several
    lanes what the run in FOLDER says goes to FOLDER.log. A run that finished, or whose numbers
    stopped being finite, leaves its record, if it is to have one.

    Args:
      runs: in their order; a teacher comes before who learns from it.
      program: what their flags are given to.
      lanes: where runs are made.

    Returns:
      How many are finished now, and a line for each that failed.

    Raises:
      StoppedError: SIGINT or SIGTERM came, to this process or to a run that was in progress.
    """
    schedule = _Schedule(runs, program, lanes)
    with _Relay() as relay, concurrent.futures.ThreadPoolExecutor(len(lanes)) as executor:
        while schedule.begin(relay, executor):
            schedule.take_back(relay)
    return schedule.finished, schedule.failures


class _Schedule:
    """Which runs wait, which are in progress and where, and how those ended that are not."""

    def __init__(self, runs: Sequence[Run], program: Sequence[str], lanes: Sequence[Lane]) -> None:
        self.finished = 0
        self.failures: list[str] = []
        self._program = program
        self._total = len(runs)
        self._lanes = len(lanes)
        self._free = list(lanes)
        self._waiting = unfinished(runs)
        self._running: dict[concurrent.futures.Future, tuple[Run, Lane, bool]] = {}
        self._estimate = _Estimate()
        for run in runs:
            if run not in self._waiting:
                self._finish(run)
                print(f"{run.folder}: finished already", flush=True)

    def begin(self, relay: _Relay, executor: concurrent.futures.Executor) -> bool:
        """Begins whatever can be, and says whether anything is in progress."""
        while self._free and (run := self._next()):
            self._waiting.remove(run)
            if run.teacher is not None and not is_finished(run.teacher):
                self._fail(f"{run.folder}: not begun, as its teacher {run.teacher} failed")
                continue
            print(f"{run.folder}: {run.reads}: {' '.join(run.flags)}", flush=True)
            lane, is_new = self._free.pop(0), not run.folder.exists()
            environment = {**os.environ, **lane.environment}
            command = [*self._program, *run.flags]
            future = executor.submit(relay.run, command, environment, self._log(run))
            self._running[future] = run, lane, is_new
        return bool(self._running)

    def take_back(self, relay: _Relay) -> None:
        """Waits until a run ends, and says how it did.

        Raises:
          StoppedError: it was asked to stop, and so are the others.
        """
        done, _ = concurrent.futures.wait(
            self._running, return_when=concurrent.futures.FIRST_COMPLETED
        )
        for future in done:
            run, lane, is_new = self._running.pop(future)
            self._free.append(lane)
            code, seconds = future.result()
            if relay.requested or code == EXIT_INTERRUPTED:
                relay.stop()
                raise StoppedError
            if code:
                if code == EXIT_NOT_FINITE:
                    keep_record(run)
                log = self._log(run)
                where = "" if log is None else f"; see {log}"
                self._fail(f"{run.folder}: failed with code {code}{where}")
                continue
            self._finish(run)
            if is_new:
                self._estimate.add(run, seconds)
            rest = [*self._waiting, *(run for run, *_ in self._running.values())]
            left = self._estimate.describe(rest, self._lanes)
            print(f"{self.finished} of {self._total} runs are finished{left}", flush=True)

    def _next(self) -> Run | None:
        """The first run that waits for no teacher."""
        coming = {run.folder for run in self._waiting}
        coming |= {run.folder for run, *_ in self._running.values()}
        return next((run for run in self._waiting if run.teacher not in coming), None)

    def _log(self, run: Run) -> pathlib.Path | None:
        """Where what a run says goes; None: to the sweep's own output."""
        if self._lanes == 1:
            return None
        return run.folder.with_name(f"{run.folder.name}.log")

    def _finish(self, run: Run) -> None:
        self.finished += 1
        if is_finished(run.folder):
            keep_record(run)

    def _fail(self, line: str) -> None:
        self.failures.append(line)
        print(line, file=sys.stderr, flush=True)


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
