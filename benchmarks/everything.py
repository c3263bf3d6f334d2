"""All that docs/performance.md asks of a device: `python -m benchmarks.everything --minutes 10`.

Runs the other commands one after the other, in the order of their value, each in a process of its
own and with a limit of its own, and ends with a table of what was aimed at and what was measured.
Each writes its file when it is done, `NAME_cpu.json` or `NAME_gpu.json`: what ends this command in
the middle loses nothing that was measured. A part that fails is reported, and the next one begins.
PyTorch's agreement is left to `benchmarks.train_step`, which checks it without being asked.

    python -m benchmarks.everything --minutes 10 --folder results/benchmarks
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.findings import describe
from benchmarks.measure import find_platform
from benchmarks.options import make_parser

ROOT = pathlib.Path(__file__).parents[1]

# No part begins with less: to import JAX and to compile take longer.
_LEAST_SECONDS = 20


@dataclasses.dataclass(frozen=True)
class Part:
    """One command.

    Attributes:
      name: of its file, without the platform.
      arguments: of `python -m`, the module first.
      small: further ones that make it tiny.
      limit: seconds after which it is ended, unless it is small.
      instead: further arguments of a second attempt, where the first one failed.
    """

    name: str
    arguments: tuple[str, ...]
    small: tuple[str, ...]
    limit: float
    instead: tuple[str, ...] = ()


_TINY = ("--width=8", "--batch_size=16", "--image_size=16", "--examples=64")
_TINY_STEP = (*_TINY, "--steps=2", "--repeats=1", "--memory_steps=2")
_TINY_RUN = ("--config.model.width=8", "--config.training.batch_size=16")
_STEP = ("benchmarks.train_step", "--no-agreement", "--repeats=3", "--memory_steps=1")
# `torch.compile` needs compilers that a machine may lack.
_EAGER = ("--pytorch", "eager")
# What is not computed in bfloat16 says nothing of a graphics card.
_HALF = "--config.training.compute_dtype=bfloat16"


def parts(platform: str) -> tuple[Part, ...]:
    """What is measured on a platform, the most valuable first."""
    half = () if platform == "cpu" else (_HALF,)
    return (
        Part(
            "train_step",
            (*_STEP, "--method", "cross_entropy", "skdsam"),
            _TINY_STEP,
            270,
            _EAGER,
        ),
        Part(
            "epoch",
            ("benchmarks.epoch", "--epochs=4", *half),
            ("--examples=64", "--epochs=2", *_TINY_RUN),
            150,
        ),
        Part(
            "train_step_wrn16_2",
            (*_STEP, "--model=wrn16_2", "--method", "cross_entropy", "skdsam"),
            _TINY_STEP,
            240,
            _EAGER,
        ),
        Part(
            "dispatch",
            ("benchmarks.dispatch",),
            (*_TINY, "--counts", "1", "2", "--steps=2", "--turns=1"),
            120,
        ),
        Part(
            "checks",
            ("benchmarks.checks", "--method", "skdsam"),
            ("--width=8", "--batch_size=16"),
            120,
        ),
        Part(
            "train_step_byot",
            (*_STEP, "--method", "cross_entropy", "byot"),
            _TINY_STEP,
            200,
            _EAGER,
        ),
        Part(
            "startup_digits",
            ("benchmarks.startup", "--repeats=1"),
            ("--config.model.width=4",),
            120,
        ),
    )


def run_all(
    chosen: Sequence[Part],
    folder: pathlib.Path,
    platform: str,
    seconds: float,
    *,
    small: bool = False,
    least: float = _LEAST_SECONDS,
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Runs parts until the time is up.

    Args:
      chosen: in this order.
      folder: where their files go.
      platform: the end of the files' names.
      seconds: for all of them.
      small: whether they are to be tiny.
      least: seconds that must be left for a part to begin.
      say: takes what is to be shown.

    Returns:
      By name of a part its `outcome`, "measured" or why there is nothing, and its `seconds`.
    """
    end = time.monotonic() + seconds
    outcomes: dict[str, dict[str, Any]] = {}
    for part in chosen:
        attempts = [()] + ([part.instead] if part.instead else [])
        for extra in attempts:
            left = end - time.monotonic()
            if left < least:
                outcomes.setdefault(part.name, {"outcome": "no time left", "seconds": 0.0})
                break
            flags = (*part.arguments, *(part.small if small else ()), *extra)
            say(f"{part.name}: python -m {' '.join(flags)}")
            began = time.monotonic()
            file = folder / f"{part.name}_{platform}.json"
            log = folder / f"{part.name}.log"
            # A result holds its command, which must name no folder of this machine.
            limit = left if small else min(part.limit, left)
            outcome = _run([*flags, f"--json={os.path.relpath(file, ROOT)}"], limit, log)
            outcomes[part.name] = {"outcome": outcome, "seconds": time.monotonic() - began}
            say(f"{part.name}: {outcome}, {outcomes[part.name]['seconds']:.0f} s")
            if outcome == "measured":
                break
    return outcomes


def _run(flags: Sequence[str], limit: float, log: pathlib.Path) -> str:
    """Runs one command and ends it with all that it started; says what came of it."""
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *flags],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"ended after {limit:.0f} s"
        finally:
            # Its workers are of its group; those of one that was ended do not notice.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code == 0:
        log.unlink()
        return "measured"
    last = (log.read_text().strip().splitlines() or ["it wrote nothing"])[-1]
    return f"failed with code {code}: {last}"


def read(chosen: Sequence[Part], folder: pathlib.Path, platform: str) -> Mapping[str, Any]:
    """What the files of the parts hold, by name; none of what was not measured."""
    files = {part.name: folder / f"{part.name}_{platform}.json" for part in chosen}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def main(arguments: Sequence[str]) -> int:
    """Measures, prints and writes; exit code 1 where a part was not measured."""
    options = make_parser("everything", __doc__)
    add = options.add_argument
    add("--minutes", type=float, default=10, help="for all of it; default 10")
    add("--folder", default="results/benchmarks", help="of the files")
    add("--small", action="store_true", help="tiny networks: whether it works, and not how fast")
    add("--only", nargs="+", metavar="PART", help="some of the parts")
    parsed = options.parse_args(arguments)
    # The parts are sessions of their own, and would go on alone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    platform = find_platform()
    known = {part.name: part for part in parts(platform)}
    if unknown := set(parsed.only or ()) - set(known):
        options.error(f"--only: unknown part {min(unknown)}; known are {', '.join(known)}")
    chosen = [part for name, part in known.items() if name in (parsed.only or known)]
    folder = pathlib.Path(parsed.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for part in chosen:
        # What an earlier call left must not pass for what this one measured.
        (folder / f"{part.name}_{platform}.json").unlink(missing_ok=True)
    outcomes = run_all(
        chosen,
        folder,
        platform,
        60 * parsed.minutes,
        small=parsed.small,
        say=lambda line: print(line, flush=True),
    )
    print(f"\n{describe(read(chosen, folder, platform))}")
    missing = {name: found["outcome"] for name, found in outcomes.items()}
    missing = {name: outcome for name, outcome in missing.items() if outcome != "measured"}
    for name, outcome in missing.items():
        print(f"not measured: {name}: {outcome}")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
