"""What an experiment computes on the devices: functions to be traced, of arrays alone."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.data.augmentation.distort import Look
from skdsam_jax.data.pipelines.keys import moment_of
from skdsam_jax.data.pipelines.resident import Resident, evaluation_batch, training_batch
from skdsam_jax.evaluation.metrics import Sums
from skdsam_jax.experiment.config import Experiment
from skdsam_jax.interchange.paths import replaced
from skdsam_jax.methods import Frozen, Memory, Method, TrainingSet
from skdsam_jax.models.variables import Functional, Tree
from skdsam_jax.options import numbers_of
from skdsam_jax.training import step
from skdsam_jax.training.averaging import initial_average
from skdsam_jax.training.optimizer import create_optimizer
from skdsam_jax.training.state import TrainState
from skdsam_jax.training.step import EpochSums, evaluation_step, train_steps


class Numbers(NamedTuple):
    """Numbers of a config that the step takes as arguments, by name: see `options.number`.

    Attributes:
      training: of `config.training`.
      method: of `config.method`.
    """

    training: Mapping[str, jax.typing.ArrayLike]
    method: Mapping[str, jax.typing.ArrayLike]


class Inputs(NamedTuple):
    """What a training step reads beside the state that it changes.

    Attributes:
      order: int32 [steps, B, V], the training images of each step of the epoch.
      data: the images; streamed ones are those of one step.
      seed: uint32, of the run. An argument of the step, so that another needs no compilation.
      frozen: networks that the method reads.
      numbers: scalars, weakly typed, so that they promote as the numbers themselves would.
    """

    order: jax.Array
    data: Resident
    seed: jax.Array
    frozen: Frozen
    numbers: Numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Programs:
    """The functions of one experiment; what they do not take as an argument is static.

    Attributes:
      experiment: what is trained.
      network: the method.
      look: what the network is given.
      steps_per_epoch: of the run.
    """

    experiment: Experiment
    network: Functional[Method]
    look: Look
    steps_per_epoch: int

    @property
    def numbers(self) -> Numbers:
        """Those of the experiment."""
        return Numbers(numbers_of(self.experiment.training), numbers_of(self.experiment.method))

    def optimizer(
        self, numbers: Mapping[str, jax.typing.ArrayLike]
    ) -> optax.GradientTransformation:
        """What turns the gradient into updates, with these numbers of `config.training`."""
        options = dataclasses.replace(self.experiment.training, **numbers)
        return create_optimizer(options, self.steps_per_epoch)

    def initial(
        self,
        seed: jax.Array,
        labels: jax.Array | None,
        start: Mapping[str, jax.Array] = {},
    ) -> TrainState:
        """The state before the first step.

        Args:
          seed: of the run.
          labels: of the training set; None where nothing is remembered of it.
          start: arrays of the classifier by path, in the place of random numbers.
        """
        trees = self.network.init(seed)
        if start:
            trees = (tree | {"classifier": replaced(tree["classifier"], start)} for tree in trees)
        params, model_state = trees
        memory = {} if labels is None else self.memory(params, model_state, labels)
        opt_state = self.optimizer({}).init(params)
        averages = self.experiment.training.ema_decay > 0
        average = initial_average(params, model_state) if averages else {}
        return TrainState(jnp.zeros((), jnp.int32), params, model_state, opt_state, memory, average)

    def memory(self, params: Tree, model_state: Tree, labels: jax.Array) -> Memory:
        """What there is to remember of a set with these labels before the first step."""
        training_set = TrainingSet(
            labels, self.look.num_classes, self.experiment.training.batch_size
        )
        return self.network.merge(params, model_state).initial_memory(training_set)

    def batch(self, data: Resident, seed: jax.Array, rows: jax.Array, step: jax.Array) -> Batch:
        """The batch of a step, counted over the run, that reads int32 [B, V] rows."""
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

    def take_steps(
        self, state: TrainState, sums: EpochSums, inputs: Inputs, *, count: int
    ) -> tuple[TrainState, EpochSums, Sums]:
        """`count` training steps; see `step.train_steps`."""
        return train_steps(
            state, sums, count=count, advance=lambda state: self.advance(state, inputs)
        )

    @functools.cached_property
    def advance(self) -> Callable[[TrainState, Inputs], tuple[TrainState, Sums, jax.Array]]:
        """See `step.advance`; traced once, for the shapes of its sums and within `take_steps`."""

        def advance(state: TrainState, inputs: Inputs) -> tuple[TrainState, Sums, jax.Array]:
            return step.advance(
                state,
                inputs.order,
                inputs.frozen,
                inputs.numbers.method,
                network=self.network,
                optimizer=self.optimizer(inputs.numbers.training),
                batch_function=functools.partial(self.batch, inputs.data, inputs.seed),
                ema_decay=self.experiment.training.ema_decay,
            )

        return jax.jit(advance, inline=True)

    def evaluate(
        self,
        params: Tree,
        model_state: Tree,
        data: Resident,
        rows: jax.Array,
        masks: jax.Array,
        number: jax.Array,
    ) -> Sums:
        """The sums of the batch called `number` of an `evaluation_order`."""
        batch = evaluation_batch(data, rows[number], self.look)
        return evaluation_step(
            params, model_state, batch.images, batch.labels, masks[number], network=self.network
        )
