"""Times steps in a loop on the device against single calls: `python -m benchmarks.dispatch`.

`config.training.steps_per_dispatch` steps are one call of the compiled program, a `jax.lax.scan`
over them where they are more than one. All numbers of steps train the same network in one process,
in turns: A B A B.
"""

import dataclasses
import statistics
import sys
from collections.abc import Sequence

from benchmarks.jax_training import JaxTraining  # isort: split

import jax

from benchmarks.options import add_json, make_parser, positive, write_json
from benchmarks.settings import METHODS, Settings
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.summary import describe_hardware, describe_versions


def measure(settings: Settings, counts: Sequence[int], turns: int, steps: int) -> dict[int, list]:
    """Seconds per step of each turn, by the number of steps per call."""
    trainings = {
        count: JaxTraining(dataclasses.replace(settings, steps_per_dispatch=count))
        for count in counts
    }
    for training in trainings.values():
        training.run(1)
    seconds: dict[int, list] = {count: [] for count in counts}
    for _ in range(turns):
        for count, training in trainings.items():
            seconds[count].append(training.run(steps))
    return seconds


def main(arguments: Sequence[str]) -> int:
    """Measures, prints and, on request, writes."""
    options = make_parser("dispatch", __doc__)
    add = options.add_argument
    add("--method", choices=METHODS, default="skdsam")
    add("--counts", type=positive, nargs="+", default=[1, 100], help="steps per call; the first "
        "is what the others are compared with")  # fmt: skip
    add("--width", type=positive, default=64, help="of ResNet-18")
    add("--batch_size", type=positive, default=128, help="images per step")
    add("--image_size", type=positive, default=32, help="their side in pixels; default 32")
    add("--examples", type=positive, default=50_000, help="images that lie on the device")
    add("--steps", type=positive, default=200, help="per turn, at least")
    add("--turns", type=positive, default=3)
    add_json(options)
    parsed = options.parse_args(arguments)
    on_cpu = jax.default_backend() == "cpu"
    settings = Settings(
        method=parsed.method,
        width=parsed.width,
        batch_size=parsed.batch_size,
        image_size=parsed.image_size,
        examples=parsed.examples,
        compute_dtype="float32" if on_cpu else "bfloat16",
    )
    counts = list(dict.fromkeys(parsed.counts))
    seconds = measure(settings, counts, parsed.turns, parsed.steps)
    medians = {count: statistics.median(turns) for count, turns in seconds.items()}
    result = {
        "command": " ".join(["python -m benchmarks.dispatch", *arguments]),
        "settings": dataclasses.asdict(settings),
        "steps": parsed.steps,
        "seconds_per_step": seconds,
        "images_per_second": {n: settings.batch_size / value for n, value in medians.items()},
        "speed_over_the_first": {n: medians[counts[0]] / value for n, value in medians.items()},
        "hardware": describe_hardware(data_mesh(jax.devices()[:1])),
        "versions": describe_versions(),
    }
    for count in counts:
        print(
            f"{settings.method}, {count} step(s) per call: "
            f"{result['images_per_second'][count]:,.1f} images/s, "
            f"{result['speed_over_the_first'][count]:.2f} times as fast as {counts[0]}"
        )
    write_json(parsed.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
