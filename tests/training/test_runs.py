"""Real processes: what a run leaves behind, and that stopping it changes nothing."""

import json
import math
import re
import shutil
import signal

import pytest


def test_a_run_leaves_config_metrics_events_checkpoint_and_summary(undisturbed):
    names = {path.name for path in undisturbed.workdir.iterdir()}
    assert {"config.json", "metrics.jsonl", "summary.json", "checkpoints"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert [path.name for path in (undisturbed.workdir / "checkpoints").iterdir()] == ["16"]


def test_summary_holds_what_it_promises(undisturbed):
    summary = undisturbed.summary
    expected = {
        "method": "skdsam",
        "model": "wrn10_1",
        "dataset": "digits",
        "seed": 0,
        "epochs": 4,
        "steps": 16,
    }
    assert {name: summary[name] for name in expected} == expected
    assert len(summary["exit_accuracies"]) == 3
    assert summary["test_accuracy"] == summary["exit_accuracies"][-1]
    assert summary["test_accuracy"] <= summary["best_test_accuracy"]
    assert 0 <= summary["ensemble_accuracy"] <= 1
    assert sum(summary["attention_weights"]) == pytest.approx(1, abs=1e-5)
    assert summary["attention_entropy"] == pytest.approx(math.log(2), abs=1e-3)
    assert summary["images_per_second"] > 0
    assert len(summary["params_digest"]) == 64
    assert {"jax", "flax", "optax", "python"} <= set(summary["versions"])
    assert summary["hardware"]["devices"] == 1
    accuracies = [line["test"]["accuracy"] for line in undisturbed.metrics]
    assert summary["best_test_accuracy"] == max(accuracies)
    assert summary["best_epoch"] == accuracies.index(max(accuracies))


def test_metrics_have_a_line_per_epoch_with_what_the_spec_lists(undisturbed):
    lines = undisturbed.metrics
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    for line in lines:
        assert line["test"]["examples"] == 355
        assert {"cross_entropy", "kl", "feature", "attention_weights", "gradient_norm"} <= set(
            line["train"]
        )
        assert {"top5_accuracy", "nll", "calibration_error", "kl", "mixture_kl"} <= set(
            line["test"]
        )


def test_output_is_a_line_per_epoch(undisturbed):
    lines = undisturbed.output.splitlines()
    # A slow run writes within an epoch too, "epoch 1/4 loss"; its end alone has the colon.
    ends = [line.partition(":")[0] for line in lines if re.match(r"epoch \d+/\d+:", line)]
    assert ends == ["epoch 1/4", "epoch 2/4", "epoch 3/4", "epoch 4/4"]
    assert "\r" not in undisturbed.output
    assert lines[-2].startswith("test accuracy ")
    folder = undisturbed.workdir
    assert lines[-1] == (
        f"results are in {folder / 'summary.json'}; curves: tensorboard --logdir {folder}"
    )


def test_output_says_that_the_first_step_is_compiled(undisturbed):
    lines = undisturbed.output.splitlines()
    assert lines[0].startswith("skdsam, wrn10_1 width 4, digits (64 training and 355 test images)")
    assert lines[1].startswith("compiling; ")
    assert undisturbed.output.count("compiling") == 1


@pytest.mark.slow
def test_a_run_stopped_between_epochs_ends_with_the_same_numbers(run, undisturbed):
    run.finish("--stop_after_epochs=2")
    assert run.summary["epochs"] == 2
    assert not run.summary["finished"]
    run.finish()
    assert run.summary["params_digest"] == undisturbed.summary["params_digest"]
    assert run.metrics == undisturbed.metrics


def test_a_finished_run_is_left_as_it_is(run, undisturbed):
    """What made its numbers is what its summary says, not who looked at it afterwards."""
    shutil.copytree(undisturbed.workdir, run.workdir)
    elsewhere = undisturbed.summary | {"commit": "abc", "hardware": {"device": "another"}}
    (run.workdir / "summary.json").write_text(json.dumps(elsewhere))
    output, _ = run.finish()
    assert "finished at step 16: nothing is left to train. More epochs are a run of thei" in output
    assert "compiling" not in output
    assert run.summary == elsewhere
    assert run.metrics == undisturbed.metrics


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_saves_within_the_epoch_and_the_same_command_goes_on(run, undisturbed, number):
    process = run.start()
    # The first line shows that the run is before its first step, which it now has to compile.
    process.stdout.readline()
    process.send_signal(number)
    output, errors = run.wait_for(process, code=75)
    asked, saving = output.index("asked to stop: "), output.index("saving the state after step ")
    assert asked < saving
    assert errors.count("\n") == 1
    assert "the same command goes on" in errors
    run.finish()
    assert run.summary["params_digest"] == undisturbed.summary["params_digest"]
    assert run.metrics == undisturbed.metrics


# The quick run looks at what a seed decides: the order, the distortions, the initialisation.
@pytest.mark.slow
def test_another_seed_gives_another_run(run, undisturbed):
    run.finish("--config.seed=1")
    assert run.summary["params_digest"] != undisturbed.summary["params_digest"]


def test_a_workdir_of_another_config_is_refused_naming_the_field(undisturbed):
    _, errors = undisturbed.finish("--config.training.learning_rate=0.2", code=2)
    assert "config.training.learning_rate: 0.1, now 0.2" in errors
    assert errors.count("\n") == 1
