"""What must hold of the compiled step on any device: `python -m benchmarks.checks`.

* A longer run compiles no more than a short one.
* A dispatch moves nothing between host and device: its arguments lie there already.
* A dispatch uses up the state it is given, and writes the new one into the same memory.

Also prints the arithmetic and the memory traffic that XLA counts in the compiled step. Exit code 1
if something does not hold.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.jax_training import JaxTraining  # isort: split

import jax

from benchmarks.options import add_json, make_parser, positive, write_json
from benchmarks.settings import METHODS, Settings
from skdsam_jax.experiment.config import default_config, from_config_dict
from skdsam_jax.training import train
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.summary import describe_hardware, describe_versions

_COMPILED = "/jax/core/compile/backend_compile_duration"


def compilations_by_epochs(method: str, epochs: Sequence[int]) -> list[int]:
    """How many programs a run of so many epochs compiles, for each entry; the first is warm-up."""
    count = 0

    def listen(event: str, duration: float, **_: Any) -> None:
        nonlocal count
        count += event == _COMPILED

    jax.monitoring.register_event_duration_secs_listener(listen)
    counts = []
    for number in epochs:
        config = default_config()
        config.method.name, config.model.width = method, 4
        config.data.train_examples, config.data.image_size = 64, 8
        config.training.batch_size, config.training.epochs = 16, number
        config.logging.tensorboard = False
        experiment = from_config_dict(config)
        with tempfile.TemporaryDirectory() as folder:
            before = count
            train(experiment, folder, devices=jax.devices()[:1], verbose=False)
            counts.append(count - before)
    jax.monitoring.unregister_event_duration_listener(listen)
    return counts


def host_transfers(training: JaxTraining) -> str | None:
    """The first transfer that a dispatch asks for without being told to; None if there is none."""
    # An epoch's first dispatch also decides its order, of which the host knows the number.
    dispatch(training)
    try:
        with jax.transfer_guard("disallow"):
            dispatch(training)
    except jax.errors.JaxRuntimeError as error:
        return str(error)
    return None


def dispatch(training: JaxTraining) -> None:
    """One call of the compiled step."""
    count = training.trainer.steps_per_dispatch
    training.state, training.sums, _ = training.trainer.dispatch(
        training.state, training.sums, next(training.inputs), count
    )


def donation(training: JaxTraining) -> dict[str, int]:
    """Bytes of the state, of those that a dispatch deleted, and of those written in place."""
    before = jax.tree.leaves((training.state, training.sums))
    sizes = [array.nbytes for array in before]
    aliased = training.trainer.lower(training.trainer.steps_per_dispatch).compile()
    dispatch(training)
    deleted = [size for array, size in zip(before, sizes, strict=True) if array.is_deleted()]
    return {
        "state_bytes": sum(sizes),
        "deleted_bytes": sum(deleted),
        "aliased_bytes": aliased.memory_analysis().alias_size_in_bytes,
    }


def check(settings: Settings) -> dict[str, Any]:
    """All of the above for one method."""
    training = JaxTraining(settings)
    lowered = training.trainer.lower()
    compiled = lowered.compile().cost_analysis()
    result = {
        "flops_per_image": lowered.cost_analysis()["flops"] / settings.batch_size,
        "compiled_flops_per_image": compiled["flops"] / settings.batch_size,
        "compiled_bytes_accessed_per_image": compiled["bytes accessed"] / settings.batch_size,
        **donation(training),
        "host_transfer": host_transfers(training),
    }
    result["compilations"] = compilations_by_epochs(settings.method, (1, 1, 3))
    _, short, long = result["compilations"]
    result["holds"] = {
        "no compilation after the first epoch": short == long,
        "no transfer between host and device": result["host_transfer"] is None,
        "state used up": result["deleted_bytes"] == result["state_bytes"],
        "state written in place": result["aliased_bytes"] >= result["state_bytes"],
    }
    return result


def main(arguments: Sequence[str]) -> int:
    """Checks, prints and, on request, writes; returns the exit code."""
    options = make_parser("checks", __doc__)
    options.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    options.add_argument("--width", type=positive, default=64, help="of ResNet-18")
    options.add_argument("--batch_size", type=positive, default=128, help="images per step")
    add_json(options)
    parsed = options.parse_args(arguments)
    results = {}
    for method in parsed.method:
        settings = Settings(
            method=method,
            width=parsed.width,
            batch_size=parsed.batch_size,
            examples=2 * parsed.batch_size,
        )
        results[method] = dataclasses.asdict(settings) | check(settings)
        print(f"{method}, width {parsed.width}, batch {parsed.batch_size}:")
        for claim, holds in results[method]["holds"].items():
            print(f"  {'yes' if holds else 'NO ':4}{claim}")
        print(
            f"  {results[method]['flops_per_image'] / 1e9:.3f} GFLOP per image as written, "
            f"{results[method]['compiled_flops_per_image'] / 1e9:.3f} compiled, "
            f"{results[method]['compiled_bytes_accessed_per_image'] / 1e6:.1f} MB read or written"
        )
    found = {
        "command": " ".join(["python -m benchmarks.checks", *arguments]),
        "hardware": describe_hardware(data_mesh(jax.devices()[:1])),
        "versions": describe_versions(),
        "methods": results,
    }
    write_json(parsed.json, found)
    return int(not all(all(result["holds"].values()) for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
