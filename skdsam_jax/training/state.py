"""The state a step turns into the next, and how it lies on the devices."""

import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from skdsam_jax.models.variables import Functional, Tree
from skdsam_jax.run_options import TrainingOptions


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything a training step reads and writes.

    Attributes:
      step: int32, the steps taken since the beginning; with the seed it decides every batch.
      params: trainable variables, nested dicts of arrays.
      model_state: the network's other variables.
      opt_state: the optimiser's.
    """

    step: jax.Array
    params: Tree
    model_state: Tree
    opt_state: optax.OptState


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


def initial_state(
    network: Functional, optimizer: optax.GradientTransformation, seed: int | jax.Array
) -> TrainState:
    """The state before the first step; call it under `jax.jit`."""
    params, model_state = network.init(seed)
    return TrainState(jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params))


def digest(*trees: Any) -> str:
    """SHA-256 over the names, types, shapes and bytes of all arrays of `trees`, in name order.

    Args:
      *trees: pytrees of arrays; the order of the arguments counts.

    Returns:
      64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for tree in trees:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        for name, leaf in sorted((jax.tree_util.keystr(path), leaf) for path, leaf in leaves):
            array = np.asarray(leaf)
            sha.update(f"{name} {array.dtype} {array.shape}\n".encode())
            sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
