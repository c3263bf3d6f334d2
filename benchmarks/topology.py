"""The step as the compiler of real TPUs sees it: `python -m benchmarks.scaling --topology v5e:2x2`.

What is printed, all of one chip:

* FLOP, and bytes as XLA counts them, of all that operations read and write;
* of these the bytes that pass between the chip and its memory (see `benchmarks.traffic`);
* arithmetic at the chip's peak, memory at its bandwidth and the collectives at its links' speed, in
  milliseconds; the step by these: the slower of the first two, and then the collectives;
* the step by the cycles that the compiler expects of each operation, without collectives.

`python -m benchmarks.topology FILE ...` prints the rows of results again, a table for all.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import pathlib
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.chips import Topology, predict
from benchmarks.collectives import find_collectives
from benchmarks.settings import Settings
from benchmarks.traffic import find_traffic
from benchmarks.worker import Worker

# Operations that a result lists.
_LARGEST = 30


def missing() -> str | None:
    """What there is to install; None: nothing."""
    if importlib.util.find_spec("libtpu"):
        return None
    return 'libtpu is not installed, which compiles for TPUs: pip install "jax[tpu]"'


def study(settings: Settings, place: Topology, steps: int) -> dict[str, Any]:
    """Compiles the step for a slice of TPUs; the batch of `settings` is that of one chip."""
    whole = dataclasses.replace(settings, batch_size=settings.batch_size * place.chips)
    # A program for chips that are not there can be stored and not read back.
    environment = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    environment |= {"JAX_ENABLE_COMPILATION_CACHE": "false", **place.environment}
    with Worker("benchmarks.simulated:OnTopology", whole, environment=environment) as worker:
        program = worker("compile", place.name, steps)
    return {"topology": place.name, "chips": place.chips, **describe(program, place)}


def describe(program: dict[str, Any], place: Topology) -> dict[str, Any]:
    """What there is to say of a program, in the place of its text."""
    text = program.pop("text")
    collectives, traffic = find_collectives(text), find_traffic(text)
    sent: Counter[str] = Counter()
    for kind, size in collectives:
        sent[kind] += size
    memory_bytes = sum(operation.bytes for operation in traffic)
    cycles = sum(operation.cycles for operation in traffic)
    return {
        **program,
        "memory_bytes": memory_bytes,
        "collectives": dict(Counter(kind for kind, _ in collectives)),
        "collective_bytes": dict(sent),
        **predict(program["flops"], memory_bytes, collectives, place),
        "cycles": cycles,
        "cycle_seconds": cycles / place.chip.clock,
        "largest": [operation._asdict() for operation in traffic[:_LARGEST]],
    }


def versions() -> dict[str, str]:
    """What compiled."""
    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "libtpu")}


HEADER = (
    f"{'topology':10}{'TFLOP':>7}{'accessed GB':>13}{'memory GB':>11}{'sent MB':>9}"
    f"{'working MB':>12}{'compute ms':>12}{'memory ms':>11}{'network ms':>12}{'step ms':>9}"
    f"{'cycles ms':>11}"
)


def table(files: Mapping[str, Any]) -> str:
    """The rows of files that `benchmarks.scaling --topology` wrote, each with its file's name."""
    rows = [
        f"{line(program)}  {name}"
        for name, content in files.items()
        for program in content["programs"]
    ]
    return "\n".join([HEADER, *rows])


def line(found: dict[str, Any]) -> str:
    """A row of the table for a result of `study`."""
    milliseconds = (
        1e3 * found[f"{name}_seconds"] for name in ("compute", "memory", "network", "step", "cycle")
    )
    compute, memory, network, step, cycles = milliseconds
    return (
        f"{found['topology']:10}{found['flops'] / 1e12:7.2f}{found['bytes_accessed'] / 1e9:13.2f}"
        f"{found['memory_bytes'] / 1e9:11.2f}{sum(found['collective_bytes'].values()) / 1e6:9.1f}"
        f"{found['memory']['temporary'] / 1e6:12.1f}{compute:12.2f}{memory:11.2f}{network:12.2f}"
        f"{step:9.2f}{cycles:11.2f}"
    )


def largest(found: dict[str, Any], count: int) -> str:
    """The operations of a result that move most, a line each."""
    return "\n".join(
        f"{operation['bytes'] / 1e6:9.1f} MB{operation['cycles'] / 1e3:9.0f} k cycles  "
        f"{_short(operation['result'])}  {operation['source'] or operation['name']}"
        for operation in found["largest"][:count]
    )


def _short(result: str) -> str:
    return result if len(result) < 50 else f"{result[:46]} ..."


if __name__ == "__main__":
    print(table({file: json.loads(pathlib.Path(file).read_text()) for file in sys.argv[1:]}))
