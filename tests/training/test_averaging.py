"""The moving average of the weights: its recurrence, and who reads it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import skdsam_jax
from skdsam_jax.data import load_dataset
from skdsam_jax.experiment.config import default_config, from_config_dict
from skdsam_jax.trained.checkpoint_files import digest
from skdsam_jax.training import train
from skdsam_jax.training.averaging import initial_average, update_average


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_average_follows_its_recurrence(decay):
    generator = np.random.default_rng(0)
    visited = generator.normal(size=(30, 3))
    expected = visited[0]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        average = initial_average({"kernel": jnp.asarray(visited[0])}, {"mean": jnp.zeros(())})
        for step, values in enumerate(visited[1:]):
            state = {"mean": jnp.asarray(values[0])}
            average = update_average(
                average, {"kernel": jnp.asarray(values)}, state, jnp.int32(step), decay
            )
            kept = min(decay, (1 + step) / (10 + step))
            expected = kept * expected + (1 - kept) * values
            np.testing.assert_allclose(average["params"]["kernel"], expected, rtol=1e-12)
    # Of the statistics too, which began at 0.
    shares = np.cumprod([min(decay, (1 + step) / (10 + step)) for step in range(29)])
    assert shares[-1] < 1e-3
    assert average["model_state"]["mean"] == pytest.approx(
        expected[0] - shares[-1] * visited[0, 0], rel=1e-9
    )


def test_what_is_not_floating_is_taken_as_it_is_and_types_stay():
    begin = {"half": jnp.zeros(2, jnp.bfloat16), "seen": jnp.zeros((), jnp.int32)}
    later = {"half": jnp.ones(2, jnp.bfloat16), "seen": jnp.asarray(7, jnp.int32)}
    average = update_average(initial_average({}, begin), {}, later, jnp.int32(0), 0.9)
    assert average["model_state"]["seen"] == 7
    assert average["model_state"]["seen"].dtype == jnp.int32
    assert average["model_state"]["half"].dtype == jnp.bfloat16
    np.testing.assert_allclose(average["model_state"]["half"].astype(float), 0.9, rtol=0.01)


FIELDS = {
    "method.name": "cross_entropy",
    "model.name": "wrn10_1",
    "model.width": 4,
    "data.train_examples": 32,
    "training.batch_size": 16,
    "training.epochs": 3,
    "logging.tensorboard": False,
    # All that is not the thesis' at once.
    "training.optimizer": "adamw",
    "training.learning_rate": 0.01,
    "training.schedule": "cosine",
    "training.warmup_epochs": 1,
    "training.clip_gradient_norm": 1.0,
    "training.decay_norms_and_biases": False,
    "training.ema_decay": 0.9,
}


def _experiment():
    config = default_config()
    config.update_from_flattened_dict(FIELDS)
    return from_config_dict(config)


def _train(workdir, **settings):
    return train(_experiment(), workdir, devices=jax.devices()[:1], verbose=False, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that keeps an average, and its summary."""
    workdir = tmp_path_factory.mktemp("averaged") / "run"
    return workdir, _train(workdir)


def _lines(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{**line, "images_per_second": None} for line in lines]


# The quick run kills one that keeps an average.
@pytest.mark.slow
def test_a_run_stopped_and_resumed_ends_with_the_same_average(finished, tmp_path):
    workdir, summary = finished
    assert not _train(tmp_path / "run", stop_after_epochs=1)["finished"]
    assert _train(tmp_path / "run")["params_digest"] == summary["params_digest"]
    assert _lines(tmp_path / "run") == _lines(workdir)


def test_the_line_of_an_epoch_has_the_rate_of_its_last_step(finished):
    rates = [line["learning_rate"] for line in _lines(finished[0])]
    # Two steps an epoch: the warm-up's last, then the second and fourth of the four that are left.
    cosine = [0.005 * (1 + np.cos(np.pi * step / 4)) for step in (1, 3)]
    assert rates == pytest.approx([0.01, *cosine], rel=1e-5)


def test_what_is_loaded_is_what_was_measured(finished):
    workdir, summary = finished
    assert summary["weights"] == "averaged"
    averaged, raw = skdsam_jax.load(workdir), skdsam_jax.load(workdir, raw=True)
    assert averaged.params_digest == raw.params_digest == summary["params_digest"]
    assert digest(averaged.params) != digest(raw.params)
    assert digest(averaged.model_state) != digest(raw.model_state)
    dataset = load_dataset(_experiment().data, 0)
    labels = np.asarray(dataset.test.labels)

    def nll(trained):
        probabilities = np.asarray(trained.predict(dataset.test.images), np.float64)
        return -np.log(probabilities[np.arange(len(labels)), labels]).mean()

    assert nll(averaged) == pytest.approx(summary["test"]["nll"], rel=1e-4)
    assert nll(raw) != pytest.approx(summary["test"]["nll"], rel=1e-3)
