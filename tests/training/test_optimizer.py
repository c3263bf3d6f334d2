"""Learning rates and optimisers against NumPy in float64, step by step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax.experiment.run_options import TrainingOptions, check_training
from skdsam_jax.options import ConfigError, numbers_of
from skdsam_jax.training.optimizer import create_optimizer, learning_rate_schedule

STEPS_PER_EPOCH = 7


def _rates(**fields):
    """The learning rate of every step of a run."""
    options = TrainingOptions(**fields)
    steps = np.arange(options.epochs * STEPS_PER_EPOCH)
    return steps, learning_rate_schedule(options, STEPS_PER_EPOCH)(steps)


@pytest.mark.parametrize(
    ("epochs", "decay_at", "first_epochs"),
    [
        (250, (0.4, 0.6), (100, 150)),
        (250, (83 / 250, 166 / 250, 240 / 250), (83, 166, 240)),
        (5, (0.4, 0.6), (2, 3)),
        (10, (), ()),
    ],
)
@pytest.mark.parametrize("warmup", [0, 1, 2.5])
def test_learning_rate_decays_with_the_first_step_of_an_epoch(
    epochs, decay_at, first_epochs, warmup
):
    steps, rates = _rates(epochs=epochs, decay_at=decay_at, warmup_epochs=warmup)
    decays = sum(steps // STEPS_PER_EPOCH >= epoch for epoch in first_epochs)
    warmed_up = np.minimum(1, (steps + 1) / max(1, round(warmup * STEPS_PER_EPOCH)))
    np.testing.assert_allclose(rates, warmed_up * 0.1 * 0.1**decays, rtol=1e-6)


def test_decays_that_fall_into_one_epoch_multiply():
    schedule = learning_rate_schedule(TrainingOptions(epochs=1, decay_at=(0.6, 0.7)), 5)
    np.testing.assert_allclose(schedule(5), 0.001, rtol=1e-6)


@pytest.mark.parametrize("warmup", [0, 2, 2.5])
@pytest.mark.parametrize("final", [0.0, 0.02])
def test_cosine_equals_the_oracle(warmup, final):
    fields = {"schedule": "cosine", "epochs": 10, "warmup_epochs": warmup}
    with jax.enable_x64(True):
        steps, rates = _rates(**fields, final_learning_rate=final)
    first = round(warmup * STEPS_PER_EPOCH)
    left = 10 * STEPS_PER_EPOCH - first
    expected = [
        0.1 * (step + 1) / first
        if step < first
        else final + (0.1 - final) * (1 + np.cos(np.pi * (step - first) / left)) / 2
        for step in steps
    ]
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


def test_cosine_at_the_steps_that_count():
    fields = {"schedule": "cosine", "epochs": 6, "warmup_epochs": 2, "final_learning_rate": 0.02}
    schedule = learning_rate_schedule(TrainingOptions(**fields), steps_per_epoch=5)
    # The first, the last of the warm-up, the two behind it, the middle, and the end.
    rates = [float(schedule(step)) for step in (0, 8, 9, 10, 20, 30)]
    assert rates == pytest.approx([0.01, 0.09, 0.1, 0.1, 0.06, 0.02])
    # Past the end, where no step is taken, it does not rise again.
    assert float(schedule(35)) == pytest.approx(0.02)


# A kernel, of which the weight decay is never left out, and a bias.
START = {"kernel": np.array([[2.0, -1.0]]), "bias": np.array([0.5])}
GRADIENTS = [
    {"kernel": np.array([[1.0, -0.5]]), "bias": np.array([3.0])},
    {"kernel": np.array([[-0.5, 0.1]]), "bias": np.array([-0.2])},
    {"kernel": np.array([[0.25, 4.0]]), "bias": np.array([1.0])},
    {"kernel": np.array([[2.0, 0.0]]), "bias": np.array([0.0])},
]


def _by_hand(options):
    """The parameters after each of four steps, two of them at a tenth of the learning rate."""
    params = {name: value.copy() for name, value in START.items()}
    first = {name: np.zeros_like(value) for name, value in START.items()}
    second = {name: np.zeros_like(value) for name, value in START.items()}
    for step, gradients in enumerate(GRADIENTS):
        rate = options.learning_rate * (1 if step < 2 else 0.1)
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
        clip = options.clip_gradient_norm
        scale = 1.0 if clip is None else min(1.0, clip / norm)
        for name, value in params.items():
            gradient = gradients[name] * scale
            decays = options.decay_norms_and_biases or name == "kernel"
            decay = options.weight_decay * value * decays
            if options.optimizer == "adamw":
                b1, b2 = options.betas
                first[name] = b1 * first[name] + (1 - b1) * gradient
                second[name] = b2 * second[name] + (1 - b2) * gradient**2
                mean = first[name] / (1 - b1 ** (step + 1))
                root = np.sqrt(second[name] / (1 - b2 ** (step + 1)))
                update = mean / (root + options.epsilon) + decay
            else:
                first[name] = options.momentum * first[name] + gradient + decay
                update = first[name]
                if options.nesterov:
                    update = gradient + decay + options.momentum * first[name]
            params[name] = value - rate * update
        yield {name: value.copy() for name, value in params.items()}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"nesterov": True, "momentum": 0.8},
        {"decay_norms_and_biases": False},
        {"clip_gradient_norm": 1.5},
        {"optimizer": "adamw"},
        {"optimizer": "adamw", "betas": (0.8, 0.95), "epsilon": 0.1, "clip_gradient_norm": 1.5},
        {"optimizer": "adamw", "decay_norms_and_biases": False},
    ],
    ids=str,
)
def test_steps_equal_those_by_hand(fields):
    """With numbers that are known when the step is called, as in the training step."""
    options = TrainingOptions(
        epochs=4, decay_at=(0.5,), learning_rate=0.2, weight_decay=0.1, **fields
    )
    strict = jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise")
    with jax.enable_x64(True), strict[0], strict[1]:

        @jax.jit
        def update(numbers, *arguments):
            changed = dataclasses.replace(options, **numbers)
            return create_optimizer(changed, steps_per_epoch=1).update(*arguments)

        params = jax.tree.map(jnp.asarray, START)
        state = create_optimizer(options, steps_per_epoch=1).init(params)
        for gradients, expected in zip(GRADIENTS, _by_hand(options), strict=True):
            updates, state = update(numbers_of(options), gradients, state, params)
            params = jax.tree.map(jnp.add, params, updates)
            for name, value in expected.items():
                assert params[name].dtype == np.float64
                np.testing.assert_allclose(params[name], value, rtol=1e-6)


def test_the_state_of_the_default_is_that_of_every_version():
    """Checkpoints hold it under the names of its structure."""
    state = create_optimizer(TrainingOptions(), 1).init(START)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    assert paths == ["[1][0].trace['bias']", "[1][0].trace['kernel']", "[1][1].count"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"optimizer": "adamw", "nesterov": True},
            "config.training.nesterov: takes a value of its own with optimizer sgd alone, not with "
            "adamw",
        ),
        ({"optimizer": "adamw", "momentum": 0.5}, "config.training.momentum: takes a value of"),
        ({"betas": (0.5, 0.9)}, "config.training.betas: takes a value of its own with optimizer a"),
        ({"epsilon": 1e-3}, "config.training.epsilon: takes a value of its own with optimizer ada"),
        ({"schedule": "cosine", "decay_factor": 0.2}, "config.training.decay_factor: takes a valu"),
        ({"final_learning_rate": 0.01}, "config.training.final_learning_rate: takes a value of it"),
        (
            {"schedule": "cosine", "final_learning_rate": 0.2},
            "config.training.final_learning_rate: takes at most the learning_rate, 0.1, not 0.2",
        ),
        (
            {"epochs": 4, "warmup_epochs": 4.0},
            "config.training.warmup_epochs: takes less than the 4 epochs, not 4",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_naming_the_field(fields, message):
    with pytest.raises(ConfigError) as error:
        check_training(TrainingOptions(**fields))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
