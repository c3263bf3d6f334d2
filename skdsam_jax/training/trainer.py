"""An experiment compiled for some devices: what the loop calls."""

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.data import Dataset
from skdsam_jax.data.augmentation.distort import Look
from skdsam_jax.data.pipelines.keys import moment_of
from skdsam_jax.data.pipelines.order import ReadingOrder, evaluation_order
from skdsam_jax.data.pipelines.pipeline import create_pipeline
from skdsam_jax.data.pipelines.resident import Resident, evaluation_batch, training_batch
from skdsam_jax.evaluation.metrics import Sums, summarize_exits
from skdsam_jax.experiment.config import Experiment
from skdsam_jax.experiment.run_options import TrainingOptions
from skdsam_jax.methods import (
    Frozen,
    ImageSet,
    Memory,
    Method,
    TrainingSet,
    create_method,
    find_method,
)
from skdsam_jax.models import BACKBONES, ModelOptions, create_backbone
from skdsam_jax.models.variables import Functional, Tree
from skdsam_jax.options import ConfigError
from skdsam_jax.training.state import TrainState, create_optimizer
from skdsam_jax.training.step import EpochSums, empty_sums, evaluation_step, train_steps

# Steps per call of the compiled step where dispatching costs more than a loop on the device.
_STEPS_PER_DISPATCH = 100

# Batches of an evaluation that are handed to the device before the first is waited for.
_EVALUATED_AHEAD = 2


def build_method(experiment: Experiment, num_classes: int, rngs: nnx.Rngs) -> Method:
    """The network and loss of an experiment."""
    settings = compute_types(experiment.training) | {"rngs": rngs}
    model = experiment.model
    backbone = create_backbone(**model.of_backbone(), **settings)
    cap = model.head_width_cap
    return create_method(experiment.method, backbone, num_classes, head_width_cap=cap, **settings)


def check_model(options: ModelOptions) -> None:
    """Builds the backbone without its arrays, so that what it refuses is known before any data.

    Raises:
      ConfigError: as `create_backbone`.
    """
    # Whatever the table names can be built; a DenseNet takes seconds.
    settings = options.of_backbone()
    if options.name not in BACKBONES or settings != ModelOptions(options.name).of_backbone():
        nnx.eval_shape(lambda: create_backbone(**settings, rngs=nnx.Rngs(0)))


def compute_types(options: TrainingOptions) -> dict[str, jnp.dtype]:
    """`dtype` and `param_dtype` of a network's modules.

    Under x64 parameters and float32's computations become float64: rounding then hides no
    difference between two runs that should be equal.
    """
    wide = jnp.dtype("float64" if jax.config.jax_enable_x64 else "float32")
    half = options.compute_dtype == "bfloat16"
    return {"dtype": jnp.dtype("bfloat16") if half else wide, "param_dtype": wide}


class Inputs(NamedTuple):
    """What a training step reads beside the state that it changes.

    Attributes:
      order: int32 [steps, B, V], the training images of each step of the epoch.
      data: the images; streamed ones are those of one step.
      seed: uint32, of the run. An argument of the step, so that another needs no compilation.
      frozen: networks that the method reads.
    """

    order: jax.Array
    data: Resident
    seed: jax.Array
    frozen: Frozen


class Trainer:
    """The compiled functions of one experiment and the data they read.

    State and data are replicated over the mesh, batches are split over it.

    Attributes:
      experiment: what is trained.
      dataset: on the host.
      mesh: the devices.
      look: what the network is given.
      steps_per_epoch: floor(training images / batch size); the permutation's tail is dropped.
      steps_per_dispatch: how many of them one call makes.
      evaluated: names of the sets that `evaluate` takes.
      parameter_count: trainable parameters of the whole method.
      images_per_step: that the backbone reads: every view of every read of every anchor.
      initial: () -> state before the first step, and empty sums.
    """

    def __init__(self, experiment: Experiment, dataset: Dataset, mesh: jax.sharding.Mesh) -> None:
        """Builds and checks everything; nothing is compiled or computed yet.

        Raises:
          ConfigError: experiment, data and devices do not go together.
        """
        options, method = experiment.training, find_method(experiment.method.name)
        self.experiment, self.dataset, self.mesh = experiment, dataset, mesh
        self._replicated = jax.sharding.NamedSharding(mesh, jax.P())
        self._by_batch = jax.sharding.NamedSharding(mesh, jax.P(None, "data"))

        # 1. The network, and what it reads.
        classes = dataset.num_classes
        self._network = Functional(lambda rngs: build_method(experiment, classes, rngs))
        self.parameter_count = sum(
            leaf.size for leaf in jax.tree_util.tree_leaves(self._network.params)
        )
        images = ImageSet(
            dataset.name, dataset.class_names, dataset.image_shape, dataset.mean, dataset.std
        )
        frozen = method.frozen(experiment.method, images)
        # By way of the host: of several processes each loaded it onto a device of its own.
        self._frozen = jax.device_put(jax.device_get(frozen), self._replicated)

        # 2. The batches.
        reads = method.reads(experiment.method)
        labels = dataset.train.labels if reads.needs_labels else None
        examples = len(dataset.train)
        self._order = ReadingOrder(experiment.seed, examples, options.batch_size, reads, labels)
        self.steps_per_epoch = self._order.steps
        self.steps_per_dispatch = _steps_per_dispatch(experiment, mesh)
        self.images_per_step = options.batch_size * method.images_per_anchor(experiment.method)
        self.evaluated = ("test",) if dataset.validation is None else ("validation", "test")
        self._pipelines = {
            name: create_pipeline(
                getattr(dataset, name),
                order=self._order if name == "train" else experiment.evaluation.batch_size,
                mesh=mesh,
                workers=experiment.data.workers,
            )
            for name in ("train", *self.evaluated)
        }
        self._seed = jax.device_put(np.uint32(experiment.seed), self._replicated)
        self._labels = self._labels_to_remember()
        self.look = Look(
            dataset.image_shape[:2],
            tuple(dataset.mean),
            tuple(dataset.std),
            classes,
            compute_types(options)["dtype"],
        )

        # 3. The functions; each compiles when it is first called.
        self._optimizer = create_optimizer(options, self.steps_per_epoch)
        jit = functools.partial(jax.jit, out_shardings=self._replicated)
        self._initial = jit(self._make_initial)
        self._dispatch = jit(self._take_steps, static_argnames="count", donate_argnums=(0, 1))
        self._evaluate = jit(self._evaluate_batch)
        self._norm = jit(optax.tree.norm)
        self.empty_sums = jit(self._make_empty_sums)

    @property
    def abstract(self) -> tuple[TrainState, EpochSums]:
        """Shapes, types and shardings of the run's state and sums: what a checkpoint restores."""
        state = jax.eval_shape(self._make_initial, self._seed, self._labels)
        sums = jax.eval_shape(self._make_empty_sums)
        return jax.tree.map(self._abstract, (state, sums))

    @property
    def abstract_inputs(self) -> Inputs:
        """Shapes and types of what `dispatch` reads."""
        shape = (self.steps_per_epoch, self._order.batch_size, self._order.reads.count)
        order = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=self._by_batch)
        data = self._pipelines["train"].abstract
        return Inputs(order, data, self._seed, self._frozen)

    def initial(self) -> tuple[TrainState, EpochSums]:
        """The state before the first step, and empty sums."""
        return self._initial(self._seed, self._labels), self.empty_sums()

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: object) -> None:
        for pipeline in self._pipelines.values():
            pipeline.close()

    def inputs(self, epoch: int, first_step: int = 0) -> Iterator[Inputs]:
        """What `dispatch` reads for the steps of an epoch, from `first_step` on."""
        order = jax.device_put(self._order.epoch(epoch), self._by_batch)
        for data in self._pipelines["train"].batches(epoch, first_step):
            yield Inputs(order, data, self._seed, self._frozen)

    def dispatch(
        self, state: TrainState, sums: EpochSums, inputs: Inputs, count: int
    ) -> tuple[TrainState, EpochSums, Sums]:
        """`count` training steps; `state` and `sums` are used up. See `step.train_steps`."""
        return self._dispatch(state, sums, inputs, count=count)

    def lower(self, count: int = 1) -> jax.stages.Lowered:
        """What `dispatch` compiles, for an abstract state: nothing is allocated or compiled."""
        return self._dispatch.lower(*self.abstract, self.abstract_inputs, count=count)

    def evaluate(
        self,
        state: TrainState,
        name: str,
        advance: Callable[[int, int], None] = lambda done, batches: None,
    ) -> dict[str, Any]:
        """The measures of `metrics.summarize_exits` over the whole of a set.

        Args:
          state: of the run.
          name: of the set, one of `evaluated`.
          advance: called with how many batches are done, of how many.
        """
        examples = len(getattr(self.dataset, name))
        orders = evaluation_order(examples, self.experiment.evaluation.batch_size)
        rows, masks = jax.device_put(orders, self._by_batch)
        data = self._pipelines[name].batches(epoch=0)
        batches = []
        for batch in range(len(rows)):
            batches.append(
                self._evaluate(state.params, state.model_state, next(data), rows, masks, batch)
            )
            # The device is never left without work, nor given all of it.
            if batch >= _EVALUATED_AHEAD:
                jax.block_until_ready(batches[batch - _EVALUATED_AHEAD])
                advance(batch - _EVALUATED_AHEAD + 1, len(rows))
        return summarize_exits(jax.tree.map(_total, *jax.device_get(batches)))

    def parameter_norm(self, state: TrainState) -> float:
        """The L2 norm of all parameters."""
        return float(self._norm(state.params))

    # What follows is traced.

    def _make_initial(self, seed: jax.Array, labels: jax.Array | None) -> TrainState:
        params, model_state = self._network.init(seed)
        memory = {} if labels is None else self._make_memory(params, model_state, labels)
        opt_state = self._optimizer.init(params)
        return TrainState(jnp.zeros((), jnp.int32), params, model_state, opt_state, memory)

    def _make_memory(self, params: Tree, model_state: Tree, labels: jax.Array) -> Memory:
        training_set = TrainingSet(
            labels, self.dataset.num_classes, self.experiment.training.batch_size
        )
        return self._network.merge(params, model_state).initial_memory(training_set)

    def _make_batch(
        self, data: Resident, seed: jax.Array, rows: jax.Array, step: jax.Array
    ) -> Batch:
        options, data_options = self.experiment.training, self.experiment.data
        moment = moment_of(seed, step, steps_per_epoch=self.steps_per_epoch, epochs=options.epochs)
        batch = training_batch(
            data,
            rows,
            moment,
            seed=seed,
            options=data_options,
            look=self.look,
            cropped=data_options.pipeline == "streaming",
        )
        if options.label_smoothing:
            labels = losses.smooth_labels(
                batch.labels, self.look.num_classes, options.label_smoothing, "others"
            )
            batch = batch._replace(labels=labels)
        return batch

    def _take_steps(
        self, state: TrainState, sums: EpochSums, inputs: Inputs, *, count: int
    ) -> tuple[TrainState, EpochSums, Sums]:
        return train_steps(
            state,
            sums,
            inputs.order,
            inputs.frozen,
            count=count,
            network=self._network,
            optimizer=self._optimizer,
            batch_function=functools.partial(self._make_batch, inputs.data, inputs.seed),
        )

    def _evaluate_batch(
        self,
        params: Tree,
        model_state: Tree,
        data: Resident,
        rows: jax.Array,
        masks: jax.Array,
        number: jax.Array,
    ) -> Sums:
        batch = evaluation_batch(data, rows[number], self.look)
        return evaluation_step(
            params, model_state, batch.images, batch.labels, masks[number], network=self._network
        )

    def _make_empty_sums(self) -> EpochSums:
        state = jax.eval_shape(self._make_initial, self._seed, self._labels)
        rows = jax.ShapeDtypeStruct((self._order.batch_size, self._order.reads.count), jnp.int32)
        data = self._pipelines["train"].abstract
        batch = jax.eval_shape(self._make_batch, data, self._seed, rows, 0)
        return empty_sums(state, batch, self._frozen, network=self._network)

    def _labels_to_remember(self) -> jax.Array | None:
        """The set's labels where the method makes a memory of them: reading them may take long."""
        labels = jax.ShapeDtypeStruct((len(self.dataset.train),), jnp.int32)
        network = self._network
        memory = jax.eval_shape(self._make_memory, network.params, network.model_state, labels)
        if not memory:
            return None
        leaves = jax.tree.leaves(memory)
        needed = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        available = memory_bytes(self.mesh.devices.flat[0])
        if available is not None and needed > available:
            raise ConfigError(
                f"config.method.name: {self.experiment.method.name} remembers "
                f"{needed / 2**30:.1f} GiB for {len(self.dataset.train):,} images of "
                f"{self.dataset.num_classes:,} classes; the device has {available / 2**30:.1f} GiB"
            )
        return jax.device_put(self.dataset.train.labels, self._replicated)

    def _abstract(self, array: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=self._replicated)


def memory_bytes(device: jax.Device) -> int | None:
    """The memory of a device, on a CPU that of the machine; None where that is not known."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None and device.platform == "cpu" and hasattr(os, "sysconf"):
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return limit


def _steps_per_dispatch(experiment: Experiment, mesh: jax.sharding.Mesh) -> int:
    asked = experiment.training.steps_per_dispatch
    if experiment.data.pipeline == "streaming":
        if asked not in (None, 1):
            raise ConfigError(
                f"config.training.steps_per_dispatch: takes 1 when streaming, not {asked}"
            )
        return 1
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    return asked or (1 if on_cpu else _STEPS_PER_DISPATCH)


def _total(*batches: np.ndarray) -> np.ndarray:
    """The sum over batches, in float64."""
    return np.sum(np.stack(batches), axis=0, dtype=np.float64)
