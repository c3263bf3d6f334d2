"""The step on many devices, on paper: `python -m benchmarks.scaling`.

Compiles the trainer's step for 1, 8 and 64 simulated CPU devices, each in a process of its own,
and reads from the compiled program what it sends between devices and the memory of one device. The
batch per device stays the same (weak scaling). Nothing is run and nothing is timed.

The predicted efficiency is t / (t + c). t is the arithmetic of one device's part of the batch at
the assumed speed; c is the time of all collectives one after another, without any overlap with
arithmetic, at the assumed bandwidth and latency, so that a real machine should do better. The
defaults assume H200s, bfloat16 at a quarter of the 989 TFLOP/s in the data sheet, and, for groups
larger than 8, one 400 Gbit/s link per device; within 8, NVLink at 450 GB/s in each direction.

With --topology the compiler of real TPUs compiles, which takes some minutes each on a machine that
has none; see `benchmarks.topology` for what is printed then.
"""

import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks import topology
from benchmarks.chips import CHIPS, Topology, as_topology
from benchmarks.collectives import Interconnect, find_collectives, seconds_between
from benchmarks.options import add_json, make_parser, positive, write_json
from benchmarks.settings import METHODS, Settings
from benchmarks.worker import Worker
from skdsam_jax.training.summary import describe_commit

WITHIN_NODE = Interconnect(bandwidth=450e9, latency=10e-6)
BETWEEN_NODES = Interconnect(bandwidth=50e9, latency=30e-6)
DEVICES_PER_NODE = 8
SPEED = 989e12 / 4


def predict(program: dict[str, Any], devices: int, speed: float) -> dict[str, float]:
    """Seconds of arithmetic and of communication, and the efficiency that follows."""
    interconnect = WITHIN_NODE if devices <= DEVICES_PER_NODE else BETWEEN_NODES
    computing = program["flops_per_device"] / speed
    collectives = find_collectives(program["text"])
    communicating = seconds_between(collectives, devices, interconnect)
    return {
        "compute_seconds": computing,
        "communication_seconds": communicating,
        "efficiency": computing / (computing + communicating),
    }


def study(settings: Settings, devices: int, speed: float) -> dict[str, Any]:
    """Compiles the step for so many devices; the batch of `settings` is that of one device."""
    whole = dataclasses.replace(
        settings,
        batch_size=settings.batch_size * devices,
        examples=settings.batch_size * devices,
    )
    environment = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    with Worker("benchmarks.simulated:Simulated", whole, environment=environment) as worker:
        program = worker("compile")
    collectives = find_collectives(program["text"])
    prediction = predict(program, devices, speed)
    del program["text"]
    sizes: Counter[str] = Counter()
    for kind, size in collectives:
        sizes[kind] += size
    return {
        "devices": devices,
        **program,
        "collectives": dict(Counter(kind for kind, _ in collectives)),
        "collective_bytes": dict(sizes),
        **prediction,
    }


HEADER = (
    f"{'devices':>8}{'collectives':>13}{'sent MB':>9}{'state MB':>10}{'working MB':>12}"
    f"{'compute ms':>12}{'network ms':>12}{'efficiency':>12}"
)


def line(found: dict[str, Any]) -> str:
    """A row of the table for a result of `study`."""
    return (
        f"{found['devices']:8}{sum(found['collectives'].values()):13}"
        f"{sum(found['collective_bytes'].values()) / 1e6:9.1f}"
        f"{found['state_bytes'] / 1e6:10.1f}{found['temporary_bytes'] / 1e6:12.1f}"
        f"{1e3 * found['compute_seconds']:12.2f}{1e3 * found['communication_seconds']:12.2f}"
        f"{found['efficiency']:12.1%}"
    )


def study_devices(settings: Settings, counts: Sequence[int], speed: float) -> dict[str, Any]:
    """Studies and prints the step on so many simulated devices."""
    print(HEADER)
    results = []
    for devices in counts:
        found = study(settings, devices, speed)
        results.append(found)
        print(line(found), flush=True)
    return {
        "assumptions": {
            "flops_per_second": speed,
            "within_node": WITHIN_NODE._asdict(),
            "between_nodes": BETWEEN_NODES._asdict(),
            "devices_per_node": DEVICES_PER_NODE,
        },
        "programs": results,
    }


def study_topologies(
    settings: Settings, places: Sequence[Topology], steps: int, largest: int
) -> dict[str, Any]:
    """Studies and prints the step as it is compiled for TPUs."""
    versions = topology.versions()
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    print(topology.HEADER, flush=True)
    results = []
    for place in places:
        found = topology.study(settings, place, steps)
        results.append(found)
        print(topology.line(found), flush=True)
    for found in results if largest else []:
        print(f"\n{found['topology']}: what moves most\n{topology.largest(found, largest)}")
    return {
        "assumptions": {place.name: place.describe() for place in places},
        "steps_per_call": steps,
        "commit": describe_commit(),
        "versions": versions,
        "programs": results,
    }


def main(arguments: Sequence[str]) -> int:
    """Compiles, prints and, on request, writes."""
    options = make_parser("scaling", __doc__)
    options.add_argument("--method", choices=METHODS, default="skdsam")
    options.add_argument("--devices", nargs="+", type=int, default=[1, 8, 64])
    options.add_argument("--width", type=positive, default=64, help="of ResNet-18")
    options.add_argument("--batch_size", type=positive, default=128, help="of each device")
    options.add_argument("--speed", type=float, default=SPEED, help="FLOP/s of one device")
    options.add_argument(
        "--topology",
        nargs="+",
        type=as_topology,
        help=f"TPUs to compile for, such as v5e:2x2 or v6e:4x4; kinds: {', '.join(CHIPS)}",
    )
    options.add_argument(
        "--compute_dtype",
        choices=("float32", "bfloat16"),
        help="default: bfloat16 for TPUs, otherwise float32",
    )
    options.add_argument("--steps", type=positive, default=1, help="per call, for TPUs")
    options.add_argument("--largest", type=int, default=0, help="list so many operations, for TPUs")
    add_json(options)
    parsed = options.parse_args(arguments)
    if parsed.topology and (problem := topology.missing()):
        options.error(f"--topology: {problem}")
    settings = Settings(
        method=parsed.method,
        width=parsed.width,
        batch_size=parsed.batch_size,
        compute_dtype=parsed.compute_dtype or ("bfloat16" if parsed.topology else "float32"),
    )
    print(
        f"{parsed.method}, width {parsed.width}, {parsed.batch_size} images per device, "
        f"{settings.compute_dtype}"
    )
    if parsed.topology:
        result = study_topologies(settings, parsed.topology, parsed.steps, parsed.largest)
    else:
        result = study_devices(settings, parsed.devices, parsed.speed)
    command = " ".join(["python -m benchmarks.scaling", *arguments])
    settings = dataclasses.asdict(settings)
    write_json(parsed.json, {"command": command, "settings": settings, **result})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
