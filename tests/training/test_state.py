"""Schedule, optimiser and digest against what the spec says, number by number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax.experiment.run_options import TrainingOptions
from skdsam_jax.trained.checkpoint_files import digest
from skdsam_jax.training.state import create_optimizer, data_mesh, learning_rate_schedule


@pytest.mark.parametrize(
    ("epochs", "decay_at", "first_epochs"),
    [
        (250, (0.4, 0.6), (100, 150)),
        (250, (83 / 250, 166 / 250, 240 / 250), (83, 166, 240)),
        (5, (0.4, 0.6), (2, 3)),
        (10, (), ()),
    ],
)
def test_learning_rate_decays_with_the_first_step_of_an_epoch(epochs, decay_at, first_epochs):
    steps = 7
    schedule = learning_rate_schedule(TrainingOptions(epochs=epochs, decay_at=decay_at), steps)
    step = np.arange(epochs * steps)
    decays = sum(step // steps >= epoch for epoch in first_epochs)
    np.testing.assert_allclose(schedule(step), 0.1 * 0.1**decays * np.ones(len(step)), rtol=1e-6)


def test_decays_that_fall_into_one_epoch_multiply():
    schedule = learning_rate_schedule(TrainingOptions(epochs=1, decay_at=(0.6, 0.7)), 5)
    np.testing.assert_allclose(schedule(5), 0.001, rtol=1e-6)


def test_optimizer_couples_weight_decay_before_momentum():
    options = TrainingOptions(epochs=4, decay_at=(0.5,), learning_rate=0.2, weight_decay=0.1)
    with jax.enable_x64(True):
        optimizer = create_optimizer(options, steps_per_epoch=1)
        parameter = {"scale": jnp.asarray(2.0)}
        state = optimizer.init(parameter)
        value, velocity = 2.0, 0.0
        for step, gradient in enumerate([1.0, -0.5, 0.25, 2.0]):
            updates, state = optimizer.update({"scale": jnp.asarray(gradient)}, state, parameter)
            parameter = {"scale": parameter["scale"] + updates["scale"]}
            velocity = 0.9 * velocity + gradient + 0.1 * value
            value -= (0.2 if step < 2 else 0.02) * velocity
            np.testing.assert_allclose(parameter["scale"], value, rtol=1e-6)


def test_digest_sees_values_names_shapes_and_types_and_not_order():
    tree = {"a": np.arange(6, dtype=np.float32), "b": {"c": np.ones(2, np.int32)}}
    same = {"b": {"c": np.ones(2, np.int32)}, "a": np.arange(6, dtype=np.float32)}
    assert digest(tree) == digest(same) == digest(jax.tree.map(jnp.asarray, tree))
    changed = [
        {**tree, "a": tree["a"] + np.float32(1e-6)},
        {**tree, "a": tree["a"].reshape(2, 3)},
        {**tree, "a": tree["a"].astype(np.float64)},
        {"a": tree["a"], "b": {"d": np.ones(2, np.int32)}},
    ]
    assert len({digest(tree), *map(digest, changed)}) == 5
    assert digest({"a": 1}, {"b": 2}) != digest({"b": 2}, {"a": 1})


def test_mesh_has_one_automatic_axis_over_the_devices():
    mesh = data_mesh(jax.devices()[:2])
    assert mesh.shape == {"data": 2}
    assert mesh.axis_types == (jax.sharding.AxisType.Auto,)
