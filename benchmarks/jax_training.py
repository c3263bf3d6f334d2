"""This library's training, as `train.py` runs it: the `Trainer`'s own compiled step."""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

# Before JAX starts: it would take most of a GPU's memory, which PyTorch shares here.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

from skdsam_jax import allocator, runtime

runtime.configure()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import memory  # noqa: E402
from benchmarks.conversion import to_pytorch  # noqa: E402
from benchmarks.random_images import random_images  # noqa: E402
from benchmarks.settings import MEAN, STD, Settings  # noqa: E402
from skdsam_jax.batch import Batch  # noqa: E402
from skdsam_jax.data import Dataset, Split  # noqa: E402
from skdsam_jax.data.pipelines.keys import moment_of  # noqa: E402
from skdsam_jax.data.pipelines.resident import (  # noqa: E402
    Resident,
    evaluation_batch,
    place,
    training_batch,
)
from skdsam_jax.experiment.config import Experiment, default_config, from_config_dict  # noqa: E402
from skdsam_jax.models.variables import Functional  # noqa: E402
from skdsam_jax.training.building import build_method  # noqa: E402
from skdsam_jax.training.state import data_mesh  # noqa: E402
from skdsam_jax.training.summary import describe_hardware, describe_versions  # noqa: E402
from skdsam_jax.training.trainer import Trainer  # noqa: E402


def make_experiment(settings: Settings, **options: Any) -> Experiment:
    """The experiment of these settings; whatever they do not say is the library's default.

    Args:
      settings: of the step.
      **options: of the method.
    """
    config = default_config()
    config.method.name = settings.method
    config.method.update(options)
    config.model.name, config.model.width = settings.model, settings.width
    config.model.convolution = settings.convolution
    config.data.name = "cifar100"
    config.data.crop_padding, config.data.flip = settings.crop_padding, settings.augment
    config.training.batch_size = settings.batch_size
    config.training.compute_dtype = settings.compute_dtype
    config.training.steps_per_dispatch = settings.steps_per_dispatch
    return from_config_dict(config)


def make_dataset(settings: Settings) -> Dataset:
    """Random images; those of the test split serve nothing but the interface."""
    train = Split(*random_images(settings))
    names = tuple(f"class {label}" for label in range(settings.classes))
    return Dataset("random", names, MEAN, STD, train, None, train.take(np.arange(1)))


class JaxTraining:
    """Trains on one device.

    Attributes:
      trainer: what trains.
      state, sums: the training state and the epoch's sums after the steps so far.
      inputs: what a dispatch reads.
    """

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.settings, self._options = settings, options
        self._experiment = make_experiment(settings, **options)
        self.trainer = Trainer(
            self._experiment, make_dataset(settings), data_mesh(jax.devices()[:1])
        )
        self.state, self.sums = self.trainer.initial()
        self.inputs = self.trainer.inputs(0)

    def describe(self) -> dict[str, Any]:
        """Hardware, versions, allocator and size of the network."""
        return {
            "allocator": allocator.name(),
            "hardware": describe_hardware(self.trainer.mesh),
            "versions": describe_versions(),
            "parameters": self.trainer.parameter_count,
        }

    def weights(self) -> dict[str, np.ndarray]:
        """The parameters, as PyTorch names and lays them out."""
        return to_pytorch(jax.device_get(self.state.params))

    def loss_and_gradient(self) -> tuple[float, dict[str, np.ndarray]]:
        """Of the first images, undistorted."""
        settings, experiment = self.settings, self._experiment
        network = Functional(lambda rngs: build_method(experiment, settings.classes, rngs))
        data = place(self.trainer.dataset.train.take(np.arange(settings.batch_size)))
        indices = jnp.arange(settings.batch_size, dtype=jnp.int32)

        @jax.jit
        def compute(params: Any, model_state: Any) -> tuple[jax.Array, Any]:
            batch = evaluation_batch(data, indices, self.trainer.look)

            def loss(params: Any) -> jax.Array:
                return network.merge(params, model_state).loss(batch)[0]

            return jax.value_and_grad(loss)(params)

        loss, gradient = jax.device_get(compute(self.state.params, self.state.model_state))
        return float(loss), to_pytorch(gradient)

    def first_step(self) -> dict[str, Any]:
        """Compiles and takes one step; what that took, and what was compiled."""
        start = time.perf_counter()
        count = self.trainer.steps_per_dispatch
        lowered = self.trainer.lower(count)
        lowered_at = time.perf_counter()
        compiled = lowered.compile()
        compiled_at = time.perf_counter()
        self.run(count)
        seconds = time.perf_counter() - start
        sizes = compiled.memory_analysis()
        return {
            "first_step_seconds": seconds,
            "compile_seconds": compiled_at - lowered_at,
            "trace_seconds": lowered_at - start,
            "flops_per_image": self._flops() / self.settings.batch_size,
            "compiled_bytes_accessed_per_image": compiled.cost_analysis()["bytes accessed"]
            / self.settings.batch_size,
            "temporary_bytes": sizes.temp_size_in_bytes,
        }

    def _flops(self) -> float:
        """Of one step whose convolutions are computed directly, so that all forms count alike."""
        direct = dataclasses.replace(self.settings, convolution="direct")
        experiment = make_experiment(direct, **self._options)
        trainer = Trainer(experiment, self.trainer.dataset, self.trainer.mesh)
        # Of one step: the cost of a loop's body is counted once whatever its length.
        return trainer.lower().cost_analysis()["flops"]

    def reset_peak_memory(self) -> None:
        """Begins to measure the peak of memory anew, on a CPU; a GPU's is since the beginning."""
        memory.reset_peak()

    def peak_memory_bytes(self) -> int:
        """Of the device; on a CPU of the process."""
        of_device = jax.devices()[0].memory_stats() or {}
        return of_device.get("peak_bytes_in_use") or memory.peak_bytes()

    def run(self, steps: int) -> float:
        """Takes at least this many steps as the training loop does; returns seconds per step."""
        count = self.trainer.steps_per_dispatch
        dispatches = -(-steps // count)
        start = time.perf_counter()
        for _ in range(dispatches):
            self.state, self.sums, last = self.trainer.dispatch(
                self.state, self.sums, next(self.inputs), count
            )
            skipped, last = jax.device_get((self.sums.skipped, last))
        seconds = (time.perf_counter() - start) / (dispatches * count)
        if skipped:
            raise ArithmeticError("the training diverged: steps without an update time nothing")
        return seconds

    def input_seconds(self) -> float:
        """Seconds to gather, distort and normalise one batch, measured alone."""
        trainer = self.trainer

        @jax.jit
        def make(split: Resident, rows: jax.Array) -> Batch:
            moment = moment_of(0, 0, steps_per_epoch=trainer.steps_per_epoch, epochs=1)
            options = self._experiment.data
            return training_batch(split, rows, moment, seed=0, options=options, look=trainer.look)

        inputs = next(self.inputs)
        rows = list(inputs.order[:10])
        _, median = _best_and_median(lambda: [make(inputs.data, row) for row in rows], 5)
        return median / len(rows)

    def matrix_peak(self, size: int) -> float:
        """FLOP/s of the product of two square matrices in the compute type, the best of ten."""
        matrix = jnp.ones((size, size), self.settings.compute_dtype)
        product = jax.jit(lambda a: a @ a)
        return 2 * size**3 / _best_and_median(lambda: product(matrix), 10)[0]


def _best_and_median(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Seconds that a call takes once it is compiled."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return min(seconds), statistics.median(seconds)
