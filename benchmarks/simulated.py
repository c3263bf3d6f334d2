"""The compiled step on devices that are not there, for `benchmarks.scaling`."""

import dataclasses
import time
from typing import Any

from benchmarks.jax_training import make_dataset, make_experiment  # isort: split

import jax
from jax.experimental import topologies

from benchmarks.settings import Settings
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer


class Simulated:
    """Compiles for all devices of this process, and allocates nothing but the images."""

    def __init__(self, settings: Settings) -> None:
        # What is predicted are accelerators, which all compute convolutions directly.
        settings = dataclasses.replace(settings, convolution="direct")
        self._trainer = Trainer(make_experiment(settings), make_dataset(settings), data_mesh())

    def compile(self) -> dict[str, Any]:
        """The program's text, and the arithmetic and memory of one device."""
        lowered = self._trainer.lower()
        compiled = lowered.compile()
        sizes = compiled.memory_analysis()
        state = jax.tree.leaves(self._trainer.abstract)
        return {
            "text": compiled.as_text(),
            "flops_per_device": lowered.cost_analysis()["flops"] / len(jax.devices()),
            "state_bytes": sum(array.size * array.dtype.itemsize for array in state),
            "temporary_bytes": sizes.temp_size_in_bytes,
            "versions": {"jax": jax.__version__},
        }


class OnTopology:
    """Compiles for TPUs by libtpu; only the trainer itself, and the images, lie on the CPU."""

    def __init__(self, settings: Settings) -> None:
        self._trainer = Trainer(
            make_experiment(settings), make_dataset(settings), data_mesh(jax.devices()[:1])
        )

    def compile(self, name: str, steps: int) -> dict[str, Any]:
        """The program for a topology; its arithmetic and memory are those of one chip.

        Args:
          name: of the topology, such as "v5e:2x2".
          steps: per call.
        """
        topology = topologies.get_topology_desc(name, "tpu")
        start = time.perf_counter()
        compiled = self._trainer.lower_for(data_mesh(topology.devices), steps).compile()
        cost, sizes = compiled.cost_analysis(), compiled.memory_analysis()
        return {
            "text": compiled.as_text(),
            "compile_seconds": time.perf_counter() - start,
            "device": topology.devices[0].device_kind,
            "flops": cost["flops"],
            "bytes_accessed": cost["bytes accessed"],
            "memory": {
                "arguments": sizes.argument_size_in_bytes,
                "results": sizes.output_size_in_bytes - sizes.alias_size_in_bytes,
                "temporary": sizes.temp_size_in_bytes,
                "program": sizes.generated_code_size_in_bytes,
            },
        }
