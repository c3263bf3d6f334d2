"""A moving average of the weights: what is evaluated, loaded and exported where a run keeps one."""

import jax
import jax.numpy as jnp

from skdsam_jax.models.variables import Tree


def initial_average(params: Tree, model_state: Tree) -> Tree:
    """The average before the first step: the variables that a run begins with.

    Args:
      params: trainable variables.
      model_state: the network's other variables.

    Returns:
      `{"params": ..., "model_state": ...}`, of the same shapes and types.
    """
    return {"params": params, "model_state": model_state}


def update_average(
    average: Tree, params: Tree, model_state: Tree, step: jax.Array, decay: float
) -> Tree:
    """The average after a step that led to these variables.

    With theta_t the variables after step t, counted from 0, and d `decay`:

      d_t = min(d, (1 + t) / (10 + t))
      average_t = d_t * average_(t-1) + (1 - d_t) * theta_t

    A constant d would leave the initial weights a share of d^t, most of a short run. Until d_t
    reaches d, what is averaged is on average t / 10 steps old; so it is in TensorFlow's
    `ExponentialMovingAverage`, while timm's d is constant. Batch normalisation's running statistics
    are averaged too, as in timm's `ModelEmaV2`; what is not floating, a counter, is taken as it is.

    Source: Polyak & Juditsky, SIAM J. Control Optim. 30(4), 1992, who average all steps alike.

    Args:
      average: before the step, as `initial_average` makes it.
      params: trainable variables after the step.
      model_state: the network's other variables after the step.
      step: int32, t.
      decay: d, from 0 to 1.
    """
    count = jnp.asarray(step, float)
    share = 1 - jnp.minimum(decay, (1 + count) / (10 + count))

    def blend(old: jax.Array, new: jax.Array) -> jax.Array:
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return old + share.astype(new.dtype) * (new - old)

    return jax.tree.map(blend, average, initial_average(params, model_state))
