"""Times a training step of every method against cross-entropy's: `python -m benchmarks.methods`.

All methods train the same network on the same random images with as many anchors a step, in turns
in one process: A B C A B C. The cost of a method is the median over the turns of its time over
cross-entropy's. A method that reads V images for each anchor is as dear as it is for that too.

What is timed is `Trainer.dispatch`, the compiled step that `train.py` runs. The teacher of
knowledge distillation is a cross-entropy run of one step.

    python -m benchmarks.methods --json results/benchmarks/methods_cpu.json
    python -m benchmarks.methods_doc
"""

import contextlib
import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.jax_training import JaxTraining, make_dataset, make_experiment  # isort: split

import jax

from benchmarks.options import add_json, make_parser, positive, write_json
from benchmarks.settings import Settings
from skdsam_jax.data import DATASETS
from skdsam_jax.methods import METHODS, find_method
from skdsam_jax.training import train

BASELINE = "cross_entropy"


def measure(
    methods: Sequence[str], settings: Settings, *, steps: int, repeats: int
) -> dict[str, Any]:
    """Builds and compiles all methods, then times them in turns.

    Args:
      methods: names; the baseline is measured too.
      settings: of all of them, but for the method's name.
      steps: per turn.
      repeats: turns.

    Returns:
      Plain values, as `--json` writes them.
    """
    methods = list(dict.fromkeys((BASELINE, *methods)))
    with contextlib.ExitStack() as stack:
        trainings = {name: _build(name, settings, stack) for name in methods}
        for name, training in trainings.items():
            training.run(steps)
            print(f"{name} is compiled", file=sys.stderr, flush=True)
        seconds: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(repeats):
            for name, training in trainings.items():
                seconds[name].append(training.run(steps))
        facts = trainings[BASELINE].describe()
        parameters = {
            name: training.trainer.parameter_count for name, training in trainings.items()
        }
    common = dataclasses.asdict(settings)
    common.pop("method")
    return {
        "settings": common | {"steps": steps, "repeats": repeats},
        "hardware": facts["hardware"],
        "versions": facts["versions"],
        "methods": {
            name: {
                "images_per_anchor": _images_per_anchor(name),
                "parameters": parameters[name],
                "seconds_per_step": seconds[name],
                "cost": cost_of(seconds[name], seconds[BASELINE]),
            }
            for name in methods
        },
    }


def cost_of(seconds: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """Time over the baseline's: median and extremes of the ratios of each turn."""
    turns = [a / b for a, b in zip(seconds, baseline, strict=True)]
    return {"median": statistics.median(turns), "minimum": min(turns), "maximum": max(turns)}


def describe(result: dict[str, Any]) -> str:
    """A result as text: a line for each method, the cheapest first."""
    lines = [f"{'method':24}{'V':>3}{'parameters':>13}{'ms a step':>11}{'cost':>7}"]
    by_cost = sorted(result["methods"].items(), key=lambda item: item[1]["cost"]["median"])
    for name, measured in by_cost:
        milliseconds = 1e3 * statistics.median(measured["seconds_per_step"])
        cost = measured["cost"]
        lines.append(
            f"{name:24}{measured['images_per_anchor']:3}{measured['parameters']:13,}"
            f"{milliseconds:11.1f}{cost['median']:7.2f} "
            f"({cost['minimum']:.2f} to {cost['maximum']:.2f})"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measures, prints and, on request, writes; returns the exit code."""
    options = make_parser("methods", __doc__)
    add = options.add_argument
    add("--method", nargs="+", choices=sorted(METHODS), default=sorted(METHODS))
    add("--width", type=positive, default=16, help="of ResNet-18; default 16")
    add("--batch_size", type=positive, default=32, help="anchors per step; default 32")
    add("--image_size", type=positive, default=32, help="side in pixels; default 32")
    add("--examples", type=positive, default=5_000, help="images on the device; default 5000")
    add("--steps", type=positive, default=4, help="per turn; default 4")
    add("--repeats", type=positive, default=5, help="turns; default 5")
    add_json(options)
    parsed = options.parse_args(arguments)
    settings = Settings(
        width=parsed.width,
        batch_size=parsed.batch_size,
        image_size=parsed.image_size,
        examples=parsed.examples,
    )
    result = measure(parsed.method, settings, steps=parsed.steps, repeats=parsed.repeats)
    result["command"] = " ".join(["python -m benchmarks.methods", *arguments])
    print(describe(result))
    write_json(parsed.json, result)
    return 0


def _build(name: str, settings: Settings, stack: contextlib.ExitStack) -> JaxTraining:
    settings = dataclasses.replace(settings, method=name)
    if name != "knowledge_distillation":
        return JaxTraining(settings)
    return JaxTraining(settings, teacher=stack.enter_context(_teacher(settings)))


@contextlib.contextmanager
def _teacher(settings: Settings) -> Iterator[str]:
    """The workdir of a run of one step on images like those that are trained on."""
    settings = dataclasses.replace(settings, method=BASELINE, examples=settings.batch_size)
    experiment = make_experiment(settings)
    dataset = make_dataset(settings)
    experiment = dataclasses.replace(
        experiment,
        data=dataclasses.replace(experiment.data, name=dataset.name),
        training=dataclasses.replace(experiment.training, epochs=1),
        evaluation=dataclasses.replace(experiment.evaluation, batch_size=1),
        logging=dataclasses.replace(experiment.logging, tensorboard=False),
    )
    DATASETS[dataset.name] = lambda options: dataset
    with tempfile.TemporaryDirectory() as folder:
        try:
            train(experiment, folder, devices=jax.devices()[:1], verbose=False)
        finally:
            del DATASETS[dataset.name]
        yield folder


def _images_per_anchor(name: str) -> int:
    method = find_method(name)
    return method.images_per_anchor(method.Options())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
