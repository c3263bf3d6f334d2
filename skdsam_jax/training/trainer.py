"""An experiment compiled for some devices: what the loop calls."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from skdsam_jax.data import Dataset
from skdsam_jax.data.augmentation.distort import Look
from skdsam_jax.data.pipelines.order import ReadingOrder, evaluation_order
from skdsam_jax.data.pipelines.pipeline import evaluation_pipeline, training_pipeline
from skdsam_jax.evaluation.metrics import Sums, summarize_exits
from skdsam_jax.experiment.config import Experiment
from skdsam_jax.interchange.initial import Source
from skdsam_jax.interchange.matching import Start, match
from skdsam_jax.interchange.paths import by_path
from skdsam_jax.methods import ImageSet, find_method
from skdsam_jax.models.variables import Functional
from skdsam_jax.options import ConfigError
from skdsam_jax.training.building import build_method, compute_types
from skdsam_jax.training.device_memory import check_memory
from skdsam_jax.training.programs import Inputs, Programs
from skdsam_jax.training.state import TrainState
from skdsam_jax.training.step import EpochSums, empty_sums

# Steps per call of the compiled step where dispatching costs more than a loop on the device.
_STEPS_PER_DISPATCH = 100

# Batches of an evaluation that are handed to the device before the first is waited for.
_EVALUATED_AHEAD = 2


class Trainer:
    """The compiled functions of one experiment and the data they read.

    State and data are replicated over the mesh, batches are split over it.

    Attributes:
      experiment: what is trained.
      dataset: on the host.
      mesh: the devices.
      look: what the network is given.
      programs: what is compiled.
      steps_per_epoch: floor(training images / batch size); the permutation's tail is dropped.
      steps_per_dispatch: how many of them one call makes.
      evaluated: names of the sets that `evaluate` takes.
      parameter_count: trainable parameters of the whole method.
      images_per_step: that the backbone reads: every view of every read of every anchor.
      start: what the network starts from; None: random numbers.
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
        self.start: Start | None = None
        self._start_arrays = ()
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
        where = {"mesh": mesh, "workers": experiment.data.workers}
        self._training = training_pipeline(dataset.train, self._order, **where)
        self._evaluations = {
            name: evaluation_pipeline(
                getattr(dataset, name), experiment.evaluation.batch_size, **where
            )
            for name in self.evaluated
        }
        self._seed = jax.device_put(np.uint32(experiment.seed), self._replicated)
        self.look = Look(
            dataset.image_shape[:2],
            tuple(dataset.mean),
            tuple(dataset.std),
            classes,
            compute_types(options)["dtype"],
        )

        # 3. The functions; each compiles when it is first called.
        self.programs = Programs(experiment, self._network, self.look, self.steps_per_epoch)
        self._numbers = jax.device_put(self.programs.numbers, self._replicated)
        self._labels = self._labels_to_remember()
        jit = functools.partial(jax.jit, out_shardings=self._replicated)
        self._initial = jit(self.programs.initial)
        self._dispatch = self._steps_on(self._replicated)
        self._evaluate = jit(self.programs.evaluate)
        self._norm = jit(optax.tree.norm)
        self.empty_sums = jit(lambda: empty_sums(self._sum_shapes))

    @functools.cached_property
    def abstract(self) -> tuple[TrainState, EpochSums]:
        """Shapes, types and shardings of the run's state and sums: what a checkpoint restores."""
        state = self._initial.eval_shape(self._seed, self._labels, *self._start_arrays)
        sums = jax.eval_shape(empty_sums, self._sum_shapes)
        return jax.tree.map(self._abstract, (state, sums))

    @property
    def abstract_inputs(self) -> Inputs:
        """Shapes and types of what `dispatch` reads."""
        shape = (self.steps_per_epoch, self._order.batch_size, self._order.reads.count)
        order = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=self._by_batch)
        data = self._training.abstract
        return Inputs(order, data, self._seed, self._frozen, self._numbers)

    def start_from(self, source: Source) -> None:
        """Lets `initial` begin with the arrays of a source, where the classifier has them.

        Raises:
          ConfigError: it is of another network.
        """
        params, model_state = self._network.params, self._network.model_state
        self.start = match(
            source,
            by_path(params["classifier"], model_state["classifier"]),
            backbone=self.experiment.model.name,
            class_names=self.dataset.class_names,
            others=sorted({*params, *model_state} - {"classifier"}),
        )
        # Every process read them for itself.
        self._start_arrays = (jax.device_put(self.start.arrays, self._replicated),)

    def compile(self, count: int) -> None:
        """Compiles what comes before the end of the first dispatch, of `count` steps, side by side.

        Without this each program compiles when it is first called, one after the other.
        """
        initial = self._initial.lower(self._seed, self._labels, *self._start_arrays)
        # Threads do XLA's part alone, which lets Python go on. What decides a trace, such as a
        # context of JAX, belongs to the thread that it was entered in.
        with ThreadPoolExecutor(2) as threads:
            compiled = [threads.submit(initial.compile)]
            compiled.append(threads.submit(self.lower(count).compile))
            self.empty_sums.lower().compile()
            self._order.epoch(0)
            for program in compiled:
                program.result()

    def initial(self) -> tuple[TrainState, EpochSums]:
        """The state before the first step, and empty sums."""
        return self._initial(self._seed, self._labels, *self._start_arrays), self.empty_sums()

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: object) -> None:
        for pipeline in (self._training, *self._evaluations.values()):
            pipeline.close()

    def inputs(self, epoch: int, first_step: int = 0) -> Iterator[Inputs]:
        """What `dispatch` reads for the steps of an epoch, from `first_step` on."""
        order = jax.device_put(self._order.epoch(epoch), self._by_batch)
        for data in self._training.batches(epoch, first_step):
            yield Inputs(order, data, self._seed, self._frozen, self._numbers)

    def dispatch(
        self, state: TrainState, sums: EpochSums, inputs: Inputs, count: int
    ) -> tuple[TrainState, EpochSums, Sums]:
        """`count` training steps; `state` and `sums` are used up. See `step.train_steps`."""
        return self._dispatch(state, sums, inputs, count=count)

    def lower(self, count: int = 1) -> jax.stages.Lowered:
        """What `dispatch` compiles, for an abstract state: nothing is allocated or compiled."""
        return self._dispatch.lower(*self.abstract, self.abstract_inputs, count=count)

    def lower_for(self, mesh: jax.sharding.Mesh, count: int = 1) -> jax.stages.Lowered:
        """What `dispatch` would compile on other devices, which need not be there.

        Args:
          mesh: with an axis "data", over devices such as those of a topology.
          count: steps per call.
        """
        replicated = jax.sharding.NamedSharding(mesh, jax.P())
        arguments = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct(
                array.shape, array.dtype, sharding=replicated, weak_type=array.weak_type
            ),
            (*self.abstract, self.abstract_inputs),
        )
        state, sums, inputs = arguments
        by_batch = jax.sharding.NamedSharding(mesh, self._by_batch.spec)
        inputs = inputs._replace(order=inputs.order.update(sharding=by_batch))
        return self._steps_on(replicated).lower(state, sums, inputs, count=count)

    def _steps_on(self, replicated: jax.sharding.Sharding) -> jax.stages.Wrapped:
        """`programs.take_steps`, which uses up the state and the sums."""
        return jax.jit(
            self.programs.take_steps,
            static_argnames="count",
            donate_argnums=(0, 1),
            out_shardings=replicated,
        )

    def evaluate(
        self,
        state: TrainState,
        name: str,
        advance: Callable[[int, int], None] = lambda done, batches: None,
    ) -> dict[str, Any]:
        """The measures of `metrics.summarize_exits` over the whole of a set.

        Args:
          state: of the run; its average is measured where it holds one.
          name: of the set, one of `evaluated`.
          advance: called with how many batches are done, of how many.
        """
        examples = len(getattr(self.dataset, name))
        orders = evaluation_order(examples, self.experiment.evaluation.batch_size)
        rows, masks = jax.device_put(orders, self._by_batch)
        data = self._evaluations[name].batches(epoch=0)
        batches = []
        for batch in range(len(rows)):
            batches.append(self._evaluate(*state.evaluated, next(data), rows, masks, batch))
            # The device is never left without work, nor given all of it.
            if batch >= _EVALUATED_AHEAD:
                jax.block_until_ready(batches[batch - _EVALUATED_AHEAD])
                advance(batch - _EVALUATED_AHEAD + 1, len(rows))
        return summarize_exits(jax.tree.map(_total, *jax.device_get(batches)))

    def parameter_norm(self, state: TrainState) -> float:
        """The L2 norm of all parameters that are trained."""
        return float(self._norm(state.params))

    @functools.cached_property
    def _sum_shapes(self) -> Sums:
        """Found by tracing the step, which is kept for the program that is compiled."""
        return self._trace_sum_shapes()

    def _trace_sum_shapes(self) -> Sums:
        state = self._initial.eval_shape(self._seed, self._labels, *self._start_arrays)
        state = jax.tree.map(self._abstract, state)
        return self.programs.advance.eval_shape(state, self.abstract_inputs)[1]

    def _labels_to_remember(self) -> jax.Array | None:
        """The set's labels where the method makes a memory of them: reading them may take long."""
        labels = jax.ShapeDtypeStruct((len(self.dataset.train),), jnp.int32)
        network = self._network
        memory = jax.eval_shape(self.programs.memory, network.params, network.model_state, labels)
        if not memory:
            return None
        name = self.experiment.method.name
        check_memory(memory, name, self.dataset, self.mesh.devices.flat[0])
        return jax.device_put(self.dataset.train.labels, self._replicated)

    def _abstract(self, array: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=self._replicated)


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
