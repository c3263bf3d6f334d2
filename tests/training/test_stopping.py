"""A run that is asked to stop after every single step, in this process."""

import json
import logging
import statistics

import pytest

from skdsam_jax.experiment.config import default_config
from skdsam_jax.training import InterruptedRunError, Interruption, NonFiniteError, train


class _AtOnce(Interruption):
    """Asks the run to stop, before its first step."""

    def __enter__(self):
        super().__enter__()
        self.requested = True
        return self


def _config():
    config = default_config()
    config.method.name = "cross_entropy"
    config.model.name, config.model.width = "wrn10_1", 4
    config.data.train_examples, config.data.validation_fraction = 32, 0.1
    config.training.batch_size, config.training.epochs = 16, 2
    config.logging.tensorboard = False
    return config


# The quick run stops one by a signal.
@pytest.mark.slow
def test_a_run_stopped_after_every_step_ends_with_the_same_numbers(tmp_path, capsys, caplog):
    """At the end of an epoch too, whose line must be written before its state is saved."""
    caplog.set_level(logging.ERROR, "skdsam_jax.runtime")
    expected = train(_config(), tmp_path / "undisturbed", verbose=False)
    stops = []
    while True:
        try:
            summary = train(_config(), tmp_path / "stopped", interruption=_AtOnce())
            break
        except InterruptedRunError as error:
            stops.append(str(error))
    # After the last step there is nothing to stop.
    assert stops == [f"stopped at step {step}; the same command goes on" for step in (1, 2, 3)]
    assert summary["params_digest"] == expected["params_digest"]
    output = capsys.readouterr().out
    assert [f"saving the state after step {step}\n" in output for step in (1, 2, 3)] == [True] * 3
    assert output.index("epoch 1/2:") < output.index("saving the state after step 2")
    lines = [
        (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        for name in ("undisturbed", "stopped")
    ]
    assert len(lines[0]) == len(lines[1]) == 2


def test_a_run_that_failed_and_is_tried_again_does_not_say_that_it_failed(tmp_path):
    config = _config()
    config.training.learning_rate = 1e30
    with pytest.raises(NonFiniteError, match="was not finite"):
        train(config, tmp_path, verbose=False)

    def failure():
        return json.loads((tmp_path / "summary.json").read_text())["failure"]

    assert failure() == "step 1 was not finite"
    with pytest.raises(InterruptedRunError, match="stopped at step 1;"):
        train(config, tmp_path, interruption=_AtOnce(), verbose=False)
    assert failure() is None


def test_a_summary_names_the_rate_of_the_process_that_ended_the_run(tmp_path):
    """Its machine is the one that the summary names; what went before may have been another's."""
    config = _config()
    config.training.epochs = 3
    train(config, tmp_path, stop_after_epochs=1, verbose=False)
    metrics = tmp_path / "metrics.jsonl"
    (line,) = map(json.loads, metrics.read_text().splitlines())
    metrics.write_text(json.dumps(line | {"images_per_second": 1e9}) + "\n")
    summary = train(config, tmp_path, verbose=False)
    rates = [json.loads(line)["images_per_second"] for line in metrics.read_text().splitlines()]
    assert rates[0] == 1e9
    own = [rate for rate in rates[1:] if rate]
    assert summary["images_per_second"] == pytest.approx(statistics.median(own))
