"""The training step and the evaluation step: pure functions of plain pytrees."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from skdsam_jax.batch import Batch, split_reads
from skdsam_jax.evaluation.metrics import Sums, exit_sums, training_sums
from skdsam_jax.methods import ExitOutputs, Method, Terms
from skdsam_jax.models.variables import Functional, Tree
from skdsam_jax.training.averaging import update_average
from skdsam_jax.training.state import TrainState

# Rows [B, V] of examples, the step of the run -> the batch that the method reads.
BatchFunction = Callable[[jax.Array, jax.Array], Batch]

# The state before a step -> what `advance` returns.
Advance = Callable[[TrainState], tuple[TrainState, Sums, jax.Array]]

# Folded into the key of a step, it gives that of random layers; the method draws by the key itself.
_LAYERS = 2**31


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EpochSums:
    """What accumulates over an epoch.

    Attributes:
      training: the sums of `metrics.training_sums`, over the steps that were taken.
      skipped: int32, the steps whose loss or gradient was not finite; they changed nothing else.
      first_skipped: int32, the first of them, counted from the run's beginning; -1 if none.
      skipped_sums: the sums of that step, for the record.
    """

    training: Sums
    skipped: jax.Array
    first_skipped: jax.Array
    skipped_sums: Sums


def advance(
    state: TrainState,
    order: jax.Array,
    frozen: Tree,
    numbers: Mapping[str, jax.typing.ArrayLike],
    *,
    network: Functional,
    optimizer: optax.GradientTransformation,
    batch_function: BatchFunction,
    ema_decay: float = 0.0,
) -> tuple[TrainState, Sums, jax.Array]:
    """One step of training, but for the sums of its epoch.

    The step's number decides its epoch and its place in it, and so its batch. At a loss or
    gradient that is not finite everything but the step's number keeps its value.

    Args:
      state: the state before the step.
      order: int32 [steps per epoch, B, V], what each step of this epoch reads.
      frozen: networks that the method reads and nothing changes.
      numbers: what fields of the method's options hold in this step, by name.
      network: the method.
      optimizer: what turns the gradient into updates.
      batch_function: makes the batch of some examples.
      ema_decay: of the average that the state holds, if it holds one.

    Returns:
      The state after the step, the step's sums, and whether it was finite.
    """
    rows = order[state.step % order.shape[0]]
    batch = batch_function(rows, state.step)
    gradient_function = jax.value_and_grad(_forward, has_aux=True)
    (loss, (terms, outputs, model_state)), gradient = gradient_function(
        state.params, state.model_state, state.memory, frozen, numbers, batch, network
    )
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)

    step_sums = training_sums(loss, terms, outputs, _anchor_labels(batch, outputs), gradient)
    finite = jnp.isfinite(loss) & jnp.isfinite(step_sums["gradient_norm"])
    # The method itself leaves out of its memory what was not finite: a choice between two whole
    # memories would copy them.
    memory = network.merge(state.params, state.model_state).remember(
        state.memory, batch, jax.lax.stop_gradient(outputs), finite
    )
    average = state.average
    if average:
        average = update_average(average, params, model_state, state.step, ema_decay)
    params, model_state, opt_state, average = _select(
        finite,
        (params, model_state, opt_state, average),
        (state.params, state.model_state, state.opt_state, state.average),
    )
    new_state = TrainState(state.step + 1, params, model_state, opt_state, memory, average)
    return new_state, step_sums, finite


def train_step(
    state: TrainState, sums: EpochSums, *, advance: Advance
) -> tuple[TrainState, EpochSums, Sums]:
    """One step of training.

    Args:
      state: the state before the step.
      sums: of the epoch so far.
      advance: the function of that name, with all but the state.

    Returns:
      The state and the sums after the step, and the sums of this step alone.
    """
    new_state, step_sums, finite = advance(state)
    return new_state, _accumulate(sums, step_sums, finite, state.step), step_sums


def train_steps(
    state: TrainState, sums: EpochSums, *, count: int, advance: Advance
) -> tuple[TrainState, EpochSums, Sums]:
    """`count` training steps in one call; the last result is the last step's sums.

    A single step is not a loop of one: on a CPU the gradients of convolutions inside
    `jax.lax.scan` are 20-100 times slower.
    """
    if count == 1:
        return train_step(state, sums, advance=advance)

    def body(carry: tuple[TrainState, EpochSums], _: None) -> tuple[Any, Sums]:
        state, sums, step_sums = train_step(*carry, advance=advance)
        return (state, sums), step_sums

    (state, sums), step_sums = jax.lax.scan(body, (state, sums), None, length=count)
    return state, sums, jax.tree.map(lambda values: values[-1], step_sums)


def evaluation_step(
    params: Tree,
    model_state: Tree,
    images: jax.Array,
    labels: jax.Array,
    mask: jax.Array,
    *,
    network: Functional,
) -> Sums:
    """The sums of `metrics.exit_sums` over one batch, with running statistics."""
    method = network.merge(params, model_state)
    return exit_sums(method.outputs(images, train=False), labels, mask)


def empty_sums(shapes: Sums) -> EpochSums:
    """The sums of no step, of these shapes."""
    return EpochSums(
        training={name: jnp.zeros(sums.shape, sums.dtype) for name, sums in shapes.items()},
        skipped=jnp.zeros((), jnp.int32),
        first_skipped=jnp.full((), -1, jnp.int32),
        skipped_sums={name: jnp.zeros(sums.shape, sums.dtype) for name, sums in shapes.items()},
    )


def _forward(
    params: Tree,
    model_state: Tree,
    memory: Tree,
    frozen: Tree,
    numbers: Mapping[str, jax.typing.ArrayLike],
    batch: Batch,
    network: Functional,
) -> tuple[jax.Array, tuple[Terms, ExitOutputs, Tree]]:
    """Loss, and its terms, the exits' outputs and the model state after it."""
    # Random layers draw the same numbers in a step, however the run came to it.
    key = None if batch.moment is None else jax.random.fold_in(batch.moment.key, _LAYERS)
    method = network.merge(params, model_state, key)
    with _holding(numbers, method):
        loss, (terms, outputs) = method.loss(batch, memory, frozen)
    return loss, (terms, outputs, network.split(method)[1])


@contextlib.contextmanager
def _holding(numbers: Mapping[str, jax.typing.ArrayLike], method: Method) -> Iterator[None]:
    """Puts traced numbers into the method's options; they must not outlive the trace."""
    static = method.options
    method.options = dataclasses.replace(static, **numbers)
    yield
    method.options = static


def _anchor_labels(batch: Batch, outputs: ExitOutputs) -> jax.Array:
    """The labels of the anchors, of which the outputs are."""
    return split_reads(batch.labels, len(batch.labels) // len(outputs.logits[-1]))[0]


def _accumulate(sums: EpochSums, step_sums: Sums, finite: jax.Array, step: jax.Array) -> EpochSums:
    first = ~finite & (sums.skipped == 0)
    return EpochSums(
        training={
            name: sums.training[name] + jnp.where(finite, value, jnp.zeros_like(value))
            for name, value in step_sums.items()
        },
        skipped=sums.skipped + (~finite).astype(jnp.int32),
        first_skipped=jnp.where(first, step, sums.first_skipped),
        skipped_sums=_select(first, step_sums, sums.skipped_sums),
    )


def _select(condition: jax.Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
