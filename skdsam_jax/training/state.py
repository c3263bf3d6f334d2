"""The state a step turns into the next, and how it lies on the devices."""

import dataclasses

import jax
import optax

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
      average: of `params` and `model_state` over the steps, as `averaging` makes it; empty in a run
        that keeps none.
    """

    step: jax.Array
    params: Tree
    model_state: Tree
    opt_state: optax.OptState
    memory: Tree = dataclasses.field(default_factory=dict)
    average: Tree = dataclasses.field(default_factory=dict)

    @property
    def evaluated(self) -> tuple[Tree, Tree]:
        """(params, model_state) that are measured: their average where there is one."""
        averaged = self.average or {"params": self.params, "model_state": self.model_state}
        return averaged["params"], averaged["model_state"]


def data_mesh(devices: list[jax.Device] | None = None) -> jax.sharding.Mesh:
    """A mesh of one axis, "data", over `devices` (all of every process if None).

    Its axis is Auto: under an Explicit one gathers by index fail.
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh(
        (len(devices),), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices
    )
