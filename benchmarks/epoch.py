"""Times whole epochs of the real command: `python -m benchmarks.epoch`.

Starts `train.py` on random images, as many and as large as CIFAR-100's, and notes when the lines of
its epochs are written: steps, evaluation and all that the loop does between them. From the first
epoch, which includes starting and compiling, and the median of the others follows how long a run of
250 takes.
"""

import itertools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.options import add_json, make_parser, positive, write_json

ROOT = pathlib.Path(__file__).parents[1]
# What the thesis trains.
EPOCHS = 250


def seconds_of_epochs(
    flags: Sequence[str], epochs: int, folder: str, limit: float
) -> tuple[list[float], dict[str, Any]]:
    """Trains so many epochs.

    Args:
      flags: of `train.py`, without workdir and stop.
      epochs: how many.
      folder: an empty one.
      limit: seconds to wait at most.

    Returns:
      When each epoch's line was written, in seconds since the command began, and the run's summary.

    Raises:
      RuntimeError: the command failed or took longer; the message is what it wrote.
    """
    workdir = pathlib.Path(folder, "run")
    lines, log = workdir / "metrics.jsonl", pathlib.Path(folder, "log")
    command = [sys.executable, "train.py", f"--workdir={workdir}", f"--stop_after_epochs={epochs}"]
    found: list[float] = []
    start = time.perf_counter()
    with open(log, "w") as file:
        process = subprocess.Popen([*command, *flags], cwd=ROOT, stdout=file, stderr=file)
        try:
            while process.poll() is None and time.perf_counter() - start < limit:
                # A line is written at once when its epoch is done, and the disk is waited for.
                if lines.exists() and lines.read_bytes().count(b"\n") > len(found):
                    found.append(time.perf_counter() - start)
                time.sleep(0.02)
        finally:
            process.kill()
            code = process.wait()
    if code:
        raise RuntimeError(f"train.py did not end well ({code}):\n{log.read_text()}")
    # The last line may have come while nobody looked.
    found += [time.perf_counter() - start] * (epochs - len(found))
    return found, json.loads((workdir / "summary.json").read_text())


def describe(result: dict[str, Any]) -> str:
    """A result as text."""
    first, later = result["first_epoch_seconds"], result["epoch_seconds"]
    return (
        f"{result['method']}, {result['model']} on {result['hardware']['device']}: the first epoch "
        f"after {first:.1f} s, each other {statistics.median(later):.2f} s, "
        f"{result['images_per_second']:,.0f} images/s within its steps, "
        f"{result['images_per_second_of_epoch']:,.0f} over all of it; {EPOCHS} epochs in "
        f"{result['predicted_seconds'] / 60:.1f} minutes"
    )


def main(arguments: Sequence[str]) -> int:
    """Trains, prints and, on request, writes."""
    options = make_parser(
        "epoch", __doc__, epilog="Other flags go to train.py, such as --config.model.width=4."
    )
    add = options.add_argument
    add("--config", default="configs/cifar100.py", help="what is trained")
    add("--epochs", type=positive, default=4, help="how many, two at least; default 4")
    add(
        "--examples", type=positive, default=50_000, help="training images; a fifth as many to test"
    )
    add("--limit", type=float, default=3600, help="seconds to wait")
    add_json(options)
    parsed, rest = options.parse_known_args(arguments)
    if parsed.epochs < 2:
        options.error("--epochs: takes at least 2: the first one compiles")
    flags = [f"--config={parsed.config}", "--config.data.name=benchmarks.random_images:like_cifar"]
    flags += [f"--config.data.train_examples={parsed.examples}", *rest]
    with tempfile.TemporaryDirectory() as folder:
        ends, summary = seconds_of_epochs(flags, parsed.epochs, folder, parsed.limit)
    later = [after - before for before, after in itertools.pairwise(ends)]
    median = statistics.median(later)
    result = {
        "command": " ".join(["python -m benchmarks.epoch", *arguments]),
        "examples": parsed.examples,
        "first_epoch_seconds": ends[0],
        "epoch_seconds": later,
        "images_per_second_of_epoch": parsed.examples / median,
        "predicted_seconds": ends[0] + (EPOCHS - 1) * median,
        **{
            name: summary[name]
            for name in ("method", "model", "images_per_second", "hardware", "versions", "config")
        },
    }
    print(describe(result))
    write_json(parsed.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
