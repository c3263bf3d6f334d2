"""What each augmentation costs: `python -m benchmarks.augmentation`.

Milliseconds to gather, distort and normalise a batch that lies on the device, each distortion by
itself; the least of some repetitions, taken in turns.
"""

import functools
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from skdsam_jax import runtime

runtime.configure()

import jax  # noqa: E402

from benchmarks.options import add_json, make_parser, positive, write_json  # noqa: E402
from benchmarks.random_images import random_images  # noqa: E402
from benchmarks.settings import MEAN, STD, Settings  # noqa: E402
from skdsam_jax.batch import Batch  # noqa: E402
from skdsam_jax.data import DataOptions, Split  # noqa: E402
from skdsam_jax.data.augmentation.distort import Look  # noqa: E402
from skdsam_jax.data.pipelines.keys import moment_of  # noqa: E402
from skdsam_jax.data.pipelines.resident import Resident, place, training_batch  # noqa: E402
from skdsam_jax.experiment.recipes import RECIPES  # noqa: E402
from skdsam_jax.training.state import data_mesh  # noqa: E402
from skdsam_jax.training.summary import describe_hardware, describe_versions  # noqa: E402

_NOTHING: Mapping[str, Any] = {"crop_padding": 0, "flip": False}

# Side of the images and of what is made of them; options of the data.
CASES: Mapping[str, tuple[int, int, Mapping[str, Any]]] = {
    "nothing but gathering and normalising": (32, 32, _NOTHING),
    "padded crop": (32, 32, {**_NOTHING, "crop_padding": 4}),
    "flip": (32, 32, {**_NOTHING, "flip": True}),
    "AutoAugment": (32, 32, {**_NOTHING, "autoaugment": True}),
    "Cutout": (32, 32, {**_NOTHING, "cutout": "black"}),
    "Mixup": (32, 32, {**_NOTHING, "mixup_alpha": 0.2}),
    "CutMix": (32, 32, {**_NOTHING, "cutmix_alpha": 1.0}),
    "resized crop of 32 to 32 pixels": (32, 32, {**_NOTHING, "crop": "resized"}),
    "resized crop of 64 to 32 pixels": (64, 32, {**_NOTHING, "crop": "resized"}),
    "resized crop of 64 to 64 pixels": (64, 64, {**_NOTHING, "crop": "resized"}),
    **{
        f"the recipe {name}": (
            32,
            32,
            {
                field.removeprefix("data."): value
                for field, value in fields.items()
                if field.startswith("data.")
            },
        )
        for name, fields in RECIPES.items()
    },
}


def measure(batch_size: int, repeats: int) -> dict[str, float]:
    """Milliseconds per batch of each case."""
    calls = {}
    for name, (before, after, fields) in CASES.items():
        settings = Settings(image_size=before, examples=4 * batch_size)
        split = place(Split(*random_images(settings)))
        make = functools.partial(
            _make,
            options=DataOptions(name="cifar100", **fields),
            look=Look((after, after), MEAN, STD, settings.classes),
        )
        rows = jax.numpy.arange(batch_size)[:, None]
        calls[name] = functools.partial(jax.jit(make), split, rows, 0)
        jax.block_until_ready(calls[name]())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * min(times) for name, times in seconds.items()}


def _make(
    data: Resident, rows: jax.Array, step: jax.Array, *, options: DataOptions, look: Look
) -> Batch:
    moment = moment_of(0, step, steps_per_epoch=1, epochs=1)
    return training_batch(data, rows, moment, seed=0, options=options, look=look)


def main(arguments: Sequence[str]) -> int:
    """Measures, prints and, on request, writes; returns the exit code."""
    options = make_parser("augmentation", __doc__)
    add = options.add_argument
    add("--batch_size", type=positive, default=128, help="images per batch")
    add("--repeats", type=positive, default=25, help="measurements of each")
    add_json(options)
    parsed = options.parse_args(arguments)
    milliseconds = measure(parsed.batch_size, parsed.repeats)
    for name, value in milliseconds.items():
        print(f"{value:8.2f} ms  {name}")
    result = {
        "batch_size": parsed.batch_size,
        "repeats": parsed.repeats,
        "milliseconds": milliseconds,
        "hardware": describe_hardware(data_mesh()),
        "versions": describe_versions(),
        "command": " ".join(["python -m benchmarks.augmentation", *arguments]),
    }
    write_json(parsed.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
