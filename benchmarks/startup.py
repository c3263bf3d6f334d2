"""How long a user waits: `python -m benchmarks.startup`.

Starts `train.py` on a terminal of its own and stops it when the first step is shown: with empty
caches, then with those that this left, and with these and other numbers in the config, as the next
cell of a sweep has them. Also measures how much `import skdsam_jax.losses` adds to
`import jax`. "Empty" are the caches below XDG_CACHE_HOME, of compilations and of decoded images;
the operating system's own caches of files are as they are.
"""

import functools
import os
import pathlib
import pty
import re
import select
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.options import add_json, make_parser, positive, write_json
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.summary import describe_hardware, describe_versions

ROOT = pathlib.Path(__file__).parents[1]

# tqdm's "| done/all" behind the bar; 0 steps are done when it appears.
_FIRST_STEP = re.compile(r"\| [1-9]\d*/\d+")

# A cell that differs from the one before it in numbers alone.
_OTHER_NUMBERS = (
    "--config.training.learning_rate=0.0123",
    "--config.training.weight_decay=0.00123",
)

_IMPORTS = """
import time
start = time.perf_counter()
import jax
middle = time.perf_counter()
import skdsam_jax.losses
print(middle - start, time.perf_counter() - middle)
"""


def seconds_to_first_step(flags: Sequence[str], cache: str, limit: float) -> float:
    """From the command to its first step.

    Args:
      flags: of `train.py`, without the workdir.
      cache: what XDG_CACHE_HOME is set to.
      limit: seconds to wait at most.

    Raises:
      RuntimeError: the command ended before, or took longer; the message is what it wrote.
    """
    terminal, theirs = pty.openpty()
    # A new terminal has no width, and the bar would have none either.
    termios.tcsetwinsize(terminal, (24, 100))
    written = ""
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if "CACHE_DIR" not in name}
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "train.py", f"--workdir={folder}/run", *flags],
            cwd=ROOT,
            env={**environment, "XDG_CACHE_HOME": cache},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        try:
            while time.perf_counter() - start < limit:
                if not select.select([terminal], [], [], 0.1)[0]:
                    continue
                try:
                    written += os.read(terminal, 4096).decode(errors="replace")
                except OSError:  # Linux's way to say that the other end is closed.
                    break
                if _FIRST_STEP.search(written):
                    return time.perf_counter() - start
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
    raise RuntimeError(f"no step within {limit:.0f} s:\n{written}")


def import_seconds(repeats: int) -> dict[str, float]:
    """Medians of what `import jax` takes, and of what the losses add to it."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTS], cwd=ROOT, check=True, capture_output=True, text=True
        )
        runs.append([float(number) for number in done.stdout.split()])
    jax, losses = (statistics.median(column) for column in zip(*runs, strict=True))
    return {"jax": jax, "skdsam_jax.losses over jax": losses}


def main(arguments: Sequence[str]) -> int:
    """Measures, prints and, on request, writes."""
    options = make_parser(
        "startup", __doc__, epilog="Other flags go to train.py, such as --config.model.width=4."
    )
    options.add_argument("--config", default="configs/digits.py", help="what is started")
    options.add_argument("--repeats", type=positive, default=3, help="warm starts; default 3")
    options.add_argument("--limit", type=float, default=600, help="seconds to wait for a step")
    add_json(options)
    parsed, rest = options.parse_known_args(arguments)
    flags = [f"--config={parsed.config}", *rest]
    with tempfile.TemporaryDirectory() as cache:
        start = functools.partial(seconds_to_first_step, cache=cache, limit=parsed.limit)
        cold = start(flags)
        # Before these have filled what the caches still lack.
        other = start([*flags, *_OTHER_NUMBERS])
        warm = [start(flags) for _ in range(parsed.repeats)]
    result: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.startup", *arguments]),
        "cold_seconds": cold,
        "warm_seconds": warm,
        "other_numbers_seconds": other,
        "import_seconds": import_seconds(parsed.repeats),
        "hardware": describe_hardware(data_mesh()),
        "versions": describe_versions(),
    }
    print(
        f"{parsed.config}: first step {cold:.1f} s cold, {statistics.median(warm):.1f} s warm, "
        f"{other:.1f} s with other numbers"
    )
    for name, seconds in result["import_seconds"].items():
        print(f"import {name}: {seconds:.2f} s")
    write_json(parsed.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
