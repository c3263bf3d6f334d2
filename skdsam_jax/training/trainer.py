"""An experiment compiled for some devices: what the loop calls."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from skdsam_jax.config import Experiment
from skdsam_jax.data import Dataset
from skdsam_jax.data.pipelines import create_pipeline, left_for_the_device
from skdsam_jax.data.resident import (
    Batch,
    Resident,
    epoch_order,
    evaluation_batch,
    evaluation_order,
    training_batch,
)
from skdsam_jax.methods import Method, create_method, find_method
from skdsam_jax.models import BACKBONES, ModelOptions, create_backbone
from skdsam_jax.models.variables import Functional, Tree
from skdsam_jax.options import ConfigError
from skdsam_jax.run_options import TrainingOptions
from skdsam_jax.training.metrics import Sums, summarize_exits
from skdsam_jax.training.state import TrainState, create_optimizer, initial_state
from skdsam_jax.training.step import EpochSums, empty_sums, evaluation_step, train_steps

# Steps per call of the compiled step where dispatching costs more than a loop on the device.
_STEPS_PER_DISPATCH = 100


def build_method(experiment: Experiment, num_classes: int, rngs: nnx.Rngs) -> Method:
    """The network and loss of an experiment."""
    settings = compute_types(experiment.training) | {"rngs": rngs}
    model = experiment.model
    backbone = create_backbone(model.name, width=model.width, stem=model.stem, **settings)
    cap = model.head_width_cap
    return create_method(experiment.method, backbone, num_classes, head_width_cap=cap, **settings)


def check_model(options: ModelOptions) -> None:
    """Builds the backbone without its arrays, so that what it refuses is known before any data.

    Raises:
      ConfigError: as `create_backbone`.
    """
    # Whatever the table names can be built; a DenseNet takes seconds.
    if options.name not in BACKBONES or (options.width, options.stem) != (None, "small"):
        settings = {"width": options.width, "stem": options.stem}
        nnx.eval_shape(lambda: create_backbone(options.name, **settings, rngs=nnx.Rngs(0)))


def compute_types(options: TrainingOptions) -> dict[str, jnp.dtype]:
    """`dtype` and `param_dtype` of a network's modules.

    Under x64 parameters and float32's computations become float64: rounding then hides no
    difference between two runs that should be equal.
    """
    wide = jnp.dtype("float64" if jax.config.jax_enable_x64 else "float32")
    half = options.compute_dtype == "bfloat16"
    return {"dtype": jnp.dtype("bfloat16") if half else wide, "param_dtype": wide}


class Trainer:
    """The compiled functions of one experiment and the data they read.

    State and data are replicated over the mesh, batches are split over it.

    Attributes:
      experiment: what is trained.
      dataset: on the host.
      mesh: the devices.
      steps_per_epoch: floor(training images / batch size); the permutation's tail is dropped.
      steps_per_dispatch: how many of them one call makes.
      evaluated: names of the sets that `evaluate` takes.
      parameter_count: trainable parameters of the whole method.
      images_per_step: that the backbone reads: every view of every example of a batch.
    """

    def __init__(self, experiment: Experiment, dataset: Dataset, mesh: jax.sharding.Mesh) -> None:
        options = experiment.training
        self.experiment, self.dataset, self.mesh = experiment, dataset, mesh
        self.steps_per_epoch = len(dataset.train) // options.batch_size
        self.steps_per_dispatch = _steps_per_dispatch(experiment, mesh)
        self.evaluated = ("test",) if dataset.validation is None else ("validation", "test")

        classes = len(dataset.class_names)
        self._network = Functional(lambda rngs: build_method(experiment, classes, rngs))
        self._optimizer = create_optimizer(options, self.steps_per_epoch)
        self.parameter_count = sum(
            leaf.size for leaf in jax.tree_util.tree_leaves(self._network.params)
        )
        shape = (options.batch_size, *dataset.image_shape)
        self.images_per_step = jax.eval_shape(
            find_method(experiment.method.name).views, jax.ShapeDtypeStruct(shape, np.float32)
        ).shape[0]
        self._replicated = jax.sharding.NamedSharding(mesh, jax.P())
        self._by_batch = jax.sharding.NamedSharding(mesh, jax.P(None, "data"))
        self._pipelines = {
            name: create_pipeline(
                getattr(dataset, name),
                batch_size=(
                    options.batch_size if name == "train" else experiment.evaluation.batch_size
                ),
                seed=experiment.seed if name == "train" else None,
                mesh=mesh,
                workers=experiment.data.workers,
            )
            for name in ("train", *self.evaluated)
        }
        # An argument of the compiled functions: another seed needs no other compilation.
        self._seed = jax.device_put(np.uint32(experiment.seed), self._replicated)
        self._compile()

    @property
    def abstract(self) -> tuple[TrainState, EpochSums]:
        """Shapes, types and shardings of the run's state and sums: what a checkpoint restores."""
        state = jax.eval_shape(self._initial, self._seed)
        sums = jax.eval_shape(self.empty_sums)
        return jax.tree.map(self._abstract, (state, sums))

    def initial(self) -> tuple[TrainState, EpochSums]:
        """The state before the first step, and empty sums."""
        return self._initial(self._seed), self.empty_sums()

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: object) -> None:
        for pipeline in self._pipelines.values():
            pipeline.close()

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[tuple[jax.Array, Resident]]:
        """What `dispatch` needs for the steps of an epoch, from `first_step` on.

        Yields:
          int32 [steps, batch], the training images of each step of the epoch; and the images.
        """
        examples, batch_size = len(self.dataset.train), self.experiment.training.batch_size
        order = epoch_order(self._seed, epoch, examples, batch_size)
        order = jax.device_put(order, self._by_batch)
        for data in self._pipelines["train"].batches(epoch, first_step):
            yield order, data

    def dispatch(
        self,
        state: TrainState,
        sums: EpochSums,
        batches: Iterator[tuple[jax.Array, Resident]],
        count: int,
    ) -> tuple[TrainState, EpochSums, Sums]:
        """`count` training steps; `state` and `sums` are used up. See `step.train_steps`."""
        return self._dispatch(state, sums, *next(batches), self._seed, count=count)

    def evaluate(self, state: TrainState, name: str) -> dict[str, Any]:
        """The measures of `metrics.summarize_exits` over the whole of the set called `name`."""
        examples = len(getattr(self.dataset, name))
        orders = evaluation_order(examples, self.experiment.evaluation.batch_size)
        rows, masks = jax.device_put(orders, self._by_batch)
        data = self._pipelines[name].batches(epoch=0)
        batches = [
            self._evaluate(state.params, state.model_state, next(data), rows, masks, batch)
            for batch in range(len(rows))
        ]
        return summarize_exits(jax.tree.map(_total, *jax.device_get(batches)))

    def parameter_norm(self, state: TrainState) -> float:
        """The L2 norm of all parameters."""
        return float(self._norm(state.params))

    def _compile(self) -> None:
        """Defines what runs on the devices; each function compiles when it is first called."""
        experiment, network, optimizer = self.experiment, self._network, self._optimizer
        options, classes = experiment.training, self.dataset.num_classes
        distortions = left_for_the_device(experiment.data)
        look = {
            "mean": self.dataset.mean,
            "std": self.dataset.std,
            "dtype": compute_types(options)["dtype"],
        }
        jit = functools.partial(jax.jit, out_shardings=self._replicated)

        def make_batch(
            split: Resident,
            seed: jax.Array,
            indices: jax.Array,
            epoch: jax.Array,
            position: jax.Array,
        ) -> Batch:
            return training_batch(
                split,
                indices,
                seed=seed,
                epoch=epoch,
                step=position,
                options=distortions,
                size=self.dataset.image_shape[:2],
                num_classes=classes,
                **look,
            )

        def dispatch(
            state: TrainState,
            sums: EpochSums,
            order: jax.Array,
            split: Resident,
            seed: jax.Array,
            *,
            count: int,
        ) -> tuple[TrainState, EpochSums, Sums]:
            return train_steps(
                state,
                sums,
                order,
                count=count,
                network=network,
                optimizer=optimizer,
                batch_function=functools.partial(make_batch, split, seed),
            )

        def evaluate(
            params: Tree,
            model_state: Tree,
            split: Resident,
            rows: jax.Array,
            masks: jax.Array,
            batch: jax.Array,
        ) -> Sums:
            images, labels, _ = evaluation_batch(split, rows[batch], **look)
            return evaluation_step(
                params, model_state, images, labels, masks[batch], network=network
            )

        def empty() -> EpochSums:
            indices = jnp.zeros(options.batch_size, jnp.int32)
            data = self._pipelines["train"].abstract
            batch = jax.eval_shape(make_batch, data, 0, indices, 0, 0)
            return empty_sums(network.params, network.model_state, batch, network=network)

        self._initial = jit(lambda seed: initial_state(network, optimizer, seed))
        self._dispatch = jit(dispatch, static_argnames="count", donate_argnums=(0, 1))
        self._evaluate = jit(evaluate)
        self._norm = jit(optax.tree.norm)
        self.empty_sums = jit(empty)

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
