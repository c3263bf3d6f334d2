"""What turns a gradient into updates: the learning rate of each step, and the optimiser."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from skdsam_jax.experiment.run_options import TrainingOptions
from skdsam_jax.models.variables import Tree


def learning_rate_schedule(options: TrainingOptions, steps_per_epoch: int) -> optax.Schedule:
    """Step -> learning rate.

    With eta `learning_rate`, m `final_learning_rate`, T = `epochs` * `steps_per_epoch` steps and
    W = round(`warmup_epochs` * `steps_per_epoch`) of them to warm up in, step t, counted from 0, is
    taken at

      w_t = min(1, (t + 1) / W), 1 without warm-up
      steps:   w_t * eta * decay_factor^n, n the shares of `decay_at` that took effect up to t
      cosine:  w_t * (m + (eta - m) * (1 + cos(pi * max(0, t - W) / (T - W))) / 2)

    A share s takes effect with the first step of epoch round(s * epochs), counted from 0. Cosine is
    Loshchilov & Hutter's (ICLR 2017, arXiv:1608.03983) without restarts, the warm-up that of Goyal
    et al. (2017, arXiv:1706.02677).

    Args:
      options: `config.training`, whose fields go together.
      steps_per_epoch: of the run.
    """
    warmup = round(options.warmup_epochs * steps_per_epoch)
    if options.schedule == "cosine":
        schedule = _cosine(options, warmup, options.epochs * steps_per_epoch)
    else:
        schedule = _steps(options, steps_per_epoch)
    # Optax compares an integer step with floats, which strict promotion refuses.
    if not warmup:
        return lambda step: schedule(jnp.asarray(step, float))

    def warmed_up(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step, float)
        return jnp.minimum(1.0, (step + 1) / warmup) * schedule(step)

    return warmed_up


def _steps(options: TrainingOptions, steps_per_epoch: int) -> optax.Schedule:
    boundaries: dict[int, float] = {}
    for share in options.decay_at:
        step = round(share * options.epochs) * steps_per_epoch
        boundaries[step] = boundaries.get(step, 1.0) * options.decay_factor
    return optax.piecewise_constant_schedule(options.learning_rate, boundaries)


def _cosine(options: TrainingOptions, warmup: int, steps: int) -> optax.Schedule:
    first, final = options.learning_rate, options.final_learning_rate

    def schedule(step: jax.Array) -> jax.Array:
        progress = jnp.clip((step - warmup) / (steps - warmup), 0.0, 1.0)
        return final + (first - final) * (1 + jnp.cos(jnp.pi * progress)) / 2

    return schedule


def create_optimizer(
    options: TrainingOptions, steps_per_epoch: int
) -> optax.GradientTransformation:
    """SGD with momentum and coupled weight decay, or AdamW, whose decay is decoupled.

    With g the gradient, clipped, theta the parameters, eta the learning rate of the step, lambda
    `weight_decay` and mu `momentum`:

      clip:   g <- g * min(1, clip_gradient_norm / ||g||), ||.|| over all parameters together
      sgd:    v <- mu * v + g + lambda * theta;  theta <- theta - eta * v
              nesterov:  theta <- theta - eta * (g + lambda * theta + mu * v)
      adamw:  m <- b1 * m + (1 - b1) * g;  u <- b2 * u + (1 - b2) * g^2;  after s updates
              theta <- theta - eta * (m/(1-b1^s) / (sqrt(u/(1-b2^s)) + epsilon) + lambda * theta)

    Both are PyTorch's, as is the decay in AdamW, which the learning rate multiplies. All parameters
    decay, or, without `decay_norms_and_biases`, those of two and more dimensions, as in timm:
    kernels, and not scales, biases or weights of a sum.

    Sources: Sutskever et al., ICML 2013 (Nesterov's momentum); Loshchilov & Hutter, ICLR 2019,
    arXiv:1711.05101 (AdamW); Pascanu et al., ICML 2013, arXiv:1211.5063 (clipping).

    Args:
      options: `config.training`, whose fields go together.
      steps_per_epoch: of the run.
    """
    schedule = learning_rate_schedule(options, steps_per_epoch)
    mask = None if options.decay_norms_and_biases else _matrices
    if options.optimizer == "adamw":
        b1, b2 = options.betas
        decay = {"weight_decay": options.weight_decay, "mask": mask}
        adamw = optax.adamw(schedule, b1=b1, b2=b2, eps=options.epsilon, **decay)
        parts = [optax.GradientTransformation(adamw.init, _promoting(adamw.update))]
    else:
        parts = [
            optax.add_decayed_weights(options.weight_decay, mask),
            optax.sgd(schedule, momentum=options.momentum, nesterov=options.nesterov),
        ]
    if options.clip_gradient_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(options.clip_gradient_norm))
    return optax.chain(*parts)


def _promoting(update: optax.TransformUpdateFn) -> optax.TransformUpdateFn:
    """`update`, whatever the promotion of types: Optax takes floats to the power of a count."""

    def promoting(*arguments: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return update(*arguments)

    return promoting


def _matrices(params: Tree) -> Tree:
    """Which parameters have two and more dimensions."""
    return jax.tree.map(lambda parameter: parameter.ndim > 1, params)
