"""The compiled step on all devices of this process, for `benchmarks.scaling`."""

import dataclasses
from typing import Any

from benchmarks.jax_training import make_dataset, make_experiment  # isort: split

import jax

from benchmarks.settings import Settings
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer


class Simulated:
    """Compiles, and allocates nothing but the images."""

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
