"""Does Winograd's form change what is learned? `python -m benchmarks.rounding`.

Trains one network on CIFAR-100 with convolutions computed in each form, from the same weights on
the same batches, over several seeds, and writes the training loss of every step. Winograd's form is
taken for all 3x3 convolutions of stride 1 here, however narrow. Training multiplies differences, so
a third curve is the yardstick: direct convolutions from weights that differ in their last digit.
"""

import dataclasses
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from skdsam_jax import runtime

runtime.configure()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.jax_training import make_experiment  # noqa: E402
from benchmarks.options import add_json, make_parser, positive, write_json  # noqa: E402
from benchmarks.settings import METHODS, MODELS, Settings  # noqa: E402
from skdsam_jax.data import Dataset, load_dataset  # noqa: E402
from skdsam_jax.models.operations import convolutions  # noqa: E402
from skdsam_jax.models.variables import Tree  # noqa: E402
from skdsam_jax.training.state import data_mesh  # noqa: E402
from skdsam_jax.training.summary import describe_hardware, describe_versions  # noqa: E402
from skdsam_jax.training.trainer import Trainer  # noqa: E402

# Name, form of convolution, and whether the first weights' last digit is another.
CURVES = (("direct", "direct", False), ("winograd", "winograd", False), ("nudged", "direct", True))


def losses(
    settings: Settings, dataset: Dataset, seed: int, steps: int, *, nudged: bool
) -> list[float]:
    """The training loss of each of the first steps of a run, without weight decay's part."""
    experiment = dataclasses.replace(make_experiment(settings), seed=seed)
    mesh = data_mesh(jax.devices()[:1])
    found: list[float] = []
    with Trainer(experiment, dataset, mesh) as trainer:
        state, sums = trainer.initial()
        if nudged:
            state = dataclasses.replace(state, params=nudge(state.params))
        for epoch in range(-(-steps // trainer.steps_per_epoch)):
            for inputs in trainer.inputs(epoch):
                state, sums, last = trainer.dispatch(state, sums, inputs, 1)
                found.append(float(last["loss"] / last["count"]))
                if len(found) == steps:
                    return found
    return found


def nudge(params: Tree) -> Tree:
    """Every second weight's neighbour among the numbers of its type, away from zero."""

    def move(array: jax.Array) -> jax.Array:
        flat = np.array(array).reshape(-1)
        flat[::2] = np.nextafter(flat[::2], np.copysign(np.inf, flat[::2]), dtype=flat.dtype)
        return jax.device_put(jnp.asarray(flat.reshape(array.shape)), array.sharding)

    return jax.tree.map(move, params)


def summarize(curves: dict[str, list[list[float]]]) -> dict[str, Any]:
    """How far the curves are from the direct ones: at first, and at the end."""
    summary = {}
    for name, of_seeds in curves.items():
        pairs = list(zip(of_seeds, curves["direct"], strict=True))
        tail = max(1, len(of_seeds[0]) // 4)
        ends = [statistics.mean(curve[-tail:]) for curve in of_seeds]
        differences = [
            statistics.mean(curve[-tail:]) - statistics.mean(direct[-tail:])
            for curve, direct in pairs
        ]
        summary[name] = {
            "difference_of_the_first_step": max(abs(a[0] - b[0]) for a, b in pairs),
            "largest_difference_of_ten_steps": max(
                abs(a - b)
                for one, other in pairs
                for a, b in zip(one[:10], other[:10], strict=True)
            ),
            "last_quarter": ends,
            "last_quarter_minus_direct": differences,
        }
    return summary


def describe(result: dict[str, Any]) -> str:
    """The summary as a table."""
    lines = [
        f"{'curve':12}{'first step':>12}{'ten steps':>12}{'last quarter of each seed':>34}"
        f"{'minus direct':>34}"
    ]
    for name, values in result["summary"].items():
        ends = " ".join(f"{loss:.4f}" for loss in values["last_quarter"])
        differences = " ".join(f"{loss:+.4f}" for loss in values["last_quarter_minus_direct"])
        lines.append(
            f"{name:12}{values['difference_of_the_first_step']:12.1e}"
            f"{values['largest_difference_of_ten_steps']:12.1e}{ends:>34}{differences:>34}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Trains, prints and, on request, writes; returns the exit code."""
    options = make_parser("rounding", __doc__)
    add = options.add_argument
    add("--method", choices=METHODS, default="cross_entropy")
    add("--model", choices=MODELS, default="resnet18")
    add("--width", type=positive, default=16, help="of the network; default 16")
    add("--batch_size", type=positive, default=64, help="images per step; default 64")
    add("--steps", type=positive, default=300, help="of each run; default 300")
    add("--seeds", type=positive, default=3, help="runs of each curve; default 3")
    add_json(options)
    parsed = options.parse_args(arguments)
    settings = Settings(
        method=parsed.method,
        model=parsed.model,
        width=parsed.width,
        batch_size=parsed.batch_size,
    )
    dataset = load_dataset(make_experiment(settings).data, 0)
    chosen, convolutions.WINOGRAD_FEATURES = convolutions.WINOGRAD_FEATURES, 1
    try:
        curves = {
            name: [
                losses(
                    dataclasses.replace(settings, convolution=form),
                    dataset,
                    seed,
                    parsed.steps,
                    nudged=nudged,
                )
                for seed in range(parsed.seeds)
            ]
            for name, form, nudged in CURVES
        }
    finally:
        convolutions.WINOGRAD_FEATURES = chosen
    result = {
        "command": " ".join(["python -m benchmarks.rounding", *arguments]),
        "settings": dataclasses.asdict(settings) | {"steps": parsed.steps, "seeds": parsed.seeds},
        "hardware": describe_hardware(data_mesh(jax.devices()[:1])),
        "versions": describe_versions(),
        "summary": summarize(curves),
        "losses": curves,
    }
    print(describe(result))
    write_json(parsed.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
