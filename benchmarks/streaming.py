"""How fast photographs are decoded: `python -m benchmarks.streaming --data_dir FOLDER`.

FOLDER holds train/CLASS/* and test/CLASS/*. One core's time for each part of making a view, and
what the training process itself spends on each image while a worker decodes. Times are of the
CPU, so that waiting does not count; each is the least of some repetitions.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from skdsam_jax import runtime

runtime.configure()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.options import add_json, make_parser, positive, write_json  # noqa: E402
from skdsam_jax.data import DataOptions, load_dataset  # noqa: E402
from skdsam_jax.data.dataset import EncodedSplit  # noqa: E402
from skdsam_jax.data.pictures import open_picture, pixels  # noqa: E402
from skdsam_jax.data.pipelines.order import ReadingOrder  # noqa: E402
from skdsam_jax.data.pipelines.photograph_crops import CentralCrops, RandomCrops  # noqa: E402
from skdsam_jax.data.pipelines.streaming import Streaming  # noqa: E402
from skdsam_jax.options import ConfigError  # noqa: E402
from skdsam_jax.training.state import data_mesh  # noqa: E402
from skdsam_jax.training.summary import describe_hardware, describe_versions  # noqa: E402


def measure(split: EncodedSplit, batch_size: int, repeats: int) -> dict[str, Any]:
    """Milliseconds per image of a split, and images per second.

    Args:
      split: the photographs.
      batch_size: of the training process.
      repeats: how often each is timed.

    Returns:
      Plain values, as `--json` writes them.
    """
    count = len(split)
    encoded = [split.records.read(index)[0] for index in range(count)]
    sizes = [open_picture(picture).size for picture in encoded]
    training = RandomCrops(split, ReadingOrder(seed=0, examples=count, batch_size=count))
    tests = CentralCrops(split, count)
    everything = np.arange(count)

    def milliseconds(call: Callable[[], Any]) -> float:
        return 1e3 / count * min(_cpu_seconds(call) for _ in range(repeats))

    def of_each(call: Callable[[Any], Any], values: Iterable[Any]) -> float:
        def do() -> None:
            for value in values:
                call(value)

        return milliseconds(do)

    parts = {
        "read": of_each(split.records.read, range(count)),
        "open": of_each(open_picture, encoded),
        "open and decode": of_each(lambda picture: pixels(open_picture(picture)), encoded),
        "a training view": milliseconds(lambda: training.make(0, 0, everything)),
        "a test view": milliseconds(lambda: tests.make(0, 0, everything)),
    }
    return {
        "images": count,
        "mean_width": statistics.mean(width for width, _ in sizes),
        "mean_height": statistics.mean(height for _, height in sizes),
        "mean_bytes": statistics.mean(map(len, encoded)),
        "milliseconds_per_image": parts
        | {"training process": 1e3 * _training_process(split, batch_size, repeats)},
        "training_images_per_second_and_core": 1e3 / parts["a training view"],
        "test_images_per_second_and_core": 1e3 / parts["a test view"],
    }


def describe(result: dict[str, Any]) -> str:
    """The result as text."""
    lines = [
        f"{result['images']} photographs, {result['mean_width']:.0f}x{result['mean_height']:.0f} "
        f"pixels and {result['mean_bytes'] / 1e3:.0f} kB on average, to "
        f"{result['image_size']}x{result['image_size']}"
    ]
    for name, value in result["milliseconds_per_image"].items():
        lines.append(f"{value:8.3f} ms  {name}")
    for kind in ("training", "test"):
        rate = result[f"{kind}_images_per_second_and_core"]
        lines.append(f"{rate:8.0f} {kind} images a second and core")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measures, prints and, on request, writes; returns the exit code."""
    options = make_parser("streaming", __doc__)
    add = options.add_argument
    add("--data_dir", required=True, help="the folder of photographs")
    add("--image_size", type=positive, default=224, help="side of a view in pixels")
    add("--batch_size", type=positive, default=32, help="images per step")
    add("--repeats", type=positive, default=5, help="measurements of each")
    add_json(options)
    parsed = options.parse_args(arguments)
    data = DataOptions(
        name="folder",
        data_dir=parsed.data_dir,
        pipeline="streaming",
        crop="resized",
        image_size=parsed.image_size,
    )
    try:
        split = load_dataset(data, seed=0).train
    except ConfigError as error:
        options.error(str(error))
    result = measure(split, parsed.batch_size, parsed.repeats)
    result |= {
        "image_size": parsed.image_size,
        "batch_size": parsed.batch_size,
        "hardware": describe_hardware(data_mesh()),
        "versions": describe_versions(),
        "command": " ".join(["python -m benchmarks.streaming", *arguments]),
    }
    print(describe(result))
    write_json(parsed.json, result)
    return 0


def _training_process(split: EncodedSplit, batch_size: int, repeats: int) -> float:
    """CPU seconds per image that this process spends while a worker decodes an epoch."""
    crops = RandomCrops(split, ReadingOrder(0, len(split), batch_size))
    sharding = jax.sharding.NamedSharding(data_mesh(jax.devices()[:1]), jax.P("data"))
    stream = Streaming(crops, sharding, workers=1)
    jax.block_until_ready(list(stream.batches(0))[-1])
    epochs = iter(range(1, repeats + 1))
    seconds = min(
        _cpu_seconds(lambda: jax.block_until_ready(list(stream.batches(next(epochs)))))
        for _ in range(repeats)
    )
    stream.close()
    return seconds / (crops.steps * batch_size)


def _cpu_seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
