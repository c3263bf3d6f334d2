"""The state a step turns into the next, and how it lies on the devices."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from skdsam_jax.experiment.run_options import TrainingOptions
from skdsam_jax.models.variables import Tree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything a training step reads and writes.

    Attributes:
      step: int32, the steps taken since the beginning; with the seed it decides every batch.
      params: trainable variables, nested dicts of arrays.
      model_state: the network's other variables.
      opt_state: the optimiser's.
      memory: what the method keeps from step to step; most keep nothing.
    """

    step: jax.Array
    params: Tree
    model_state: Tree
    opt_state: optax.OptState
    memory: Tree = dataclasses.field(default_factory=dict)


def data_mesh(devices: list[jax.Device] | None = None) -> jax.sharding.Mesh:
    """A mesh of one axis, "data", over `devices` (all of every process if None).

    Its axis is Auto: under an Explicit one gathers by index fail.
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh(
        (len(devices),), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices
    )


def learning_rate_schedule(options: TrainingOptions, steps_per_epoch: int) -> optax.Schedule:
    """Step -> learning rate: multiplied by `decay_factor` at each share of the epochs.

    A share s takes effect with the first step of epoch round(s * epochs), counted from 0.
    """
    boundaries: dict[int, float] = {}
    for share in options.decay_at:
        step = round(share * options.epochs) * steps_per_epoch
        boundaries[step] = boundaries.get(step, 1.0) * options.decay_factor
    schedule = optax.piecewise_constant_schedule(options.learning_rate, boundaries)
    # Optax compares an integer step with floats, which strict promotion refuses.
    return lambda step: schedule(jnp.asarray(step, float))


def create_optimizer(
    options: TrainingOptions, steps_per_epoch: int
) -> optax.GradientTransformation:
    """SGD with coupled weight decay (added to the gradient, before momentum)."""
    return optax.chain(
        optax.add_decayed_weights(options.weight_decay),
        optax.sgd(
            learning_rate_schedule(options, steps_per_epoch),
            momentum=options.momentum,
            nesterov=options.nesterov,
        ),
    )
