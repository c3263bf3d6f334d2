"""The step on a network small enough to compute by hand, and with numbers that go wrong."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods import ExitOutputs
from skdsam_jax.models.variables import Functional
from skdsam_jax.training.averaging import initial_average
from skdsam_jax.training.state import TrainState
from skdsam_jax.training.step import advance, empty_sums, train_step, train_steps

STEPS_PER_EPOCH, BATCH, PIXELS, CLASSES = 3, 4, 5, 3

# How much of the memory counts.
FROZEN = {"share": jnp.float32(0.01)}

# What the step is told of the options, which themselves hold another value.
SCALE = 2.0


@dataclasses.dataclass(frozen=True)
class Options:
    scale: float = 1.0


class Linear(nnx.Module):
    """Logits linear in the pixels; counts the batches it saw, and sums the logits it gave."""

    def __init__(self, rngs):
        self.options = Options()
        self.kernel = nnx.Param(jnp.zeros((PIXELS, CLASSES)))
        self.seen = nnx.BatchStat(jnp.zeros(()))

    def loss(self, batch, memory, frozen):
        self.seen[...] += 1
        logits = batch.images @ self.kernel[...] + memory["total"] * frozen["share"]
        logits *= self.options.scale
        terms = {"cross_entropy": losses.cross_entropy(logits, batch.labels)}
        return jnp.mean(terms["cross_entropy"]), (terms, ExitOutputs((logits,), (batch.images,)))

    def remember(self, memory, batch, outputs, taken):
        return {"total": memory["total"] + jnp.where(taken, jnp.sum(outputs.logits[0]), 0)}


@pytest.fixture(scope="module")
def network():
    return Functional(Linear)


def _examples():
    generator = np.random.default_rng(0)
    images = generator.normal(size=(STEPS_PER_EPOCH * BATCH, PIXELS)).astype(np.float32)
    labels = generator.integers(0, CLASSES, len(images)).astype(np.int32)
    return images, labels


def _make_batch(rows, step, *, bad_step=-1):
    images, labels = map(jnp.asarray, _examples())
    indices, epoch = rows[:, 0], step // STEPS_PER_EPOCH
    poison = jnp.where(step == bad_step, jnp.nan, 1.0).astype(jnp.float32)
    # The epoch reaches the batch, so that a wrong one would be seen.
    return Batch(images[indices] * poison * (1 + epoch), labels[indices], indices)


def _order():
    examples = jnp.arange(STEPS_PER_EPOCH * BATCH, dtype=jnp.int32)
    return examples[::-1].reshape(STEPS_PER_EPOCH, BATCH, 1)


def _start(network, **changes):
    optimizer = optax.sgd(0.1, momentum=0.9)
    params = {"kernel": jnp.asarray(np.random.default_rng(1).normal(size=(PIXELS, CLASSES)))}
    params = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    model_state = {"seen": jnp.zeros(())}
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        memory={"total": jnp.zeros(())},
        average=initial_average(params, model_state),
    )
    batch_function = functools.partial(_make_batch, **changes)
    step = functools.partial(
        advance,
        order=_order(),
        frozen=FROZEN,
        numbers={"scale": jnp.float32(SCALE)},
        network=network,
        optimizer=optimizer,
        batch_function=batch_function,
        ema_decay=0.5,
    )
    return state, empty_sums(jax.eval_shape(step, state)[1]), step


def _by_hand(kernel, steps):
    """Gradient descent with momentum in NumPy: kernels, losses and gradient norms."""
    images, labels = (array.astype(np.float64) for array in _examples())
    labels = labels.astype(int)
    order = np.asarray(_order())
    velocity, total = np.zeros_like(kernel), 0.0
    measured = []
    for step in range(steps):
        epoch, position = divmod(step, STEPS_PER_EPOCH)
        rows = order[position, :, 0]
        x, y = images[rows] * (1 + epoch), labels[rows]
        logits = SCALE * (x @ kernel + 0.01 * total)
        total += logits.sum()
        q = np.exp(logits - logits.max(-1, keepdims=True))
        q /= q.sum(-1, keepdims=True)
        loss = -np.log(q[np.arange(BATCH), y]).mean()
        gradient = SCALE * x.T @ (q - np.eye(CLASSES)[y]) / BATCH
        velocity = 0.9 * velocity + gradient
        kernel = kernel - 0.1 * velocity
        measured.append((loss, np.linalg.norm(gradient), (logits.argmax(-1) == y).sum()))
    return kernel, np.asarray(measured)


def test_steps_equal_gradient_descent_by_hand(network):
    state, sums, advancing = _start(network)
    expected, measured = _by_hand(np.asarray(state.params["kernel"], np.float64), 5)
    step = jax.jit(functools.partial(train_step, advance=advancing))
    average, seen = np.asarray(state.params["kernel"], np.float64), 0.0
    for number in range(5):
        state, sums, last = step(state, sums)
        assert int(state.step) == number + 1
        np.testing.assert_allclose(last["loss"] / BATCH, measured[number, 0], rtol=1e-4)
        kept = min(0.5, (1 + number) / (10 + number))
        average = kept * average + (1 - kept) * np.asarray(state.params["kernel"], np.float64)
        seen = kept * seen + (1 - kept) * (number + 1)
        np.testing.assert_allclose(state.average["params"]["kernel"], average, rtol=1e-5)
        np.testing.assert_allclose(state.average["model_state"]["seen"], seen, rtol=1e-5)
    np.testing.assert_allclose(state.params["kernel"], expected, rtol=1e-4)
    assert state.model_state["seen"] == 5
    training = sums.training
    assert training["count"] == 5 * BATCH
    np.testing.assert_allclose(training["loss"], measured[:, 0].sum() * BATCH, rtol=1e-4)
    np.testing.assert_allclose(training["gradient_norm"], measured[:, 1].sum(), rtol=1e-4)
    np.testing.assert_allclose(training["correct"], [measured[:, 2].sum()])


def test_many_steps_in_one_call_are_the_same_steps(network):
    state, sums, advancing = _start(network)
    singly = (state, sums, None)
    for _ in range(5):
        singly = train_step(*singly[:2], advance=advancing)
    at_once = train_steps(state, sums, count=5, advance=advancing)
    for a, b in zip(jax.tree.leaves(singly), jax.tree.leaves(at_once), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_step_that_is_not_finite_changes_nothing_and_is_on_record(network):
    state, sums, advancing = _start(network, bad_step=2)
    for _ in range(2):
        state, sums, _ = train_step(state, sums, advance=advancing)
    after, sums_after, last = train_step(state, sums, advance=advancing)
    assert int(after.step) == 3
    for name in ("params", "model_state", "opt_state", "memory", "average"):
        for a, b in zip(
            jax.tree.leaves(getattr(state, name)),
            jax.tree.leaves(getattr(after, name)),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    for name, value in sums.training.items():
        np.testing.assert_array_equal(sums_after.training[name], value)
    assert int(sums_after.skipped) == 1
    assert int(sums_after.first_skipped) == 2
    assert np.isnan(sums_after.skipped_sums["loss"])
    assert np.isnan(last["loss"])

    following, sums_following, _ = train_step(after, sums_after, advance=advancing)
    assert np.isfinite(following.params["kernel"]).all()
    assert int(sums_following.skipped) == 1
    assert sums_following.training["count"] == 3 * BATCH


def test_only_the_first_bad_step_is_recorded(network):
    state, sums, advancing = _start(network)
    infinite = functools.partial(
        advancing,
        batch_function=lambda *where: _make_batch(*where)._replace(
            images=jnp.full((BATCH, PIXELS), jnp.inf)
        ),
    )
    state, sums, _ = train_step(state, sums, advance=advancing)
    for _ in range(3):
        state, sums, _ = train_step(state, sums, advance=infinite)
    assert (int(sums.skipped), int(sums.first_skipped)) == (3, 1)
