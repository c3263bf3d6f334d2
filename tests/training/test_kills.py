"""Real processes, killed for real: a run ends with the numbers of one that nothing stopped."""

import random
import socket
import time

import pytest

KILLS = 20
LONGER = ("--config.training.epochs=30", "--config.checkpoint.every_minutes=0")


def _epochs(run):
    return [line["epoch"] for line in run.metrics]


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_ends_with_the_same_numbers(run, tmp_path):
    undisturbed = type(run)(tmp_path / "undisturbed")
    undisturbed.finish(*LONGER)

    moments = random.Random(0)
    finished = 0
    for _ in range(KILLS):
        process = run.start(*LONGER)
        # Its first line says that the process is past its imports: from there on anything may be
        # going on, a step, an evaluation, a checkpoint or a line of metrics.
        process.stdout.readline()
        time.sleep(moments.uniform(0, 1.2))
        process.kill()
        process.communicate()
        finished += process.returncode == 0
    assert finished <= KILLS // 2, "too many runs were over before they were killed"

    run.finish(*LONGER)
    assert run.summary["params_digest"] == undisturbed.summary["params_digest"]
    assert _epochs(run) == list(range(30))
    assert run.metrics == undisturbed.metrics


def _start_two(run, *flags):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        run.start(
            *flags,
            f"--coordinator_address=127.0.0.1:{port}",
            "--num_processes=2",
            f"--process_id={number}",
            JAX_ENABLE_X64="1",
        )
        for number in (0, 1)
    ]


@pytest.mark.slow
def test_two_processes_killed_and_resumed_equal_a_single_one(run, tmp_path):
    """20 steps under x64, where rounding hides no difference."""
    flags = (
        "--config.training.epochs=5",
        "--config.training.learning_rate=0.01",
        "--config.checkpoint.every_minutes=0",
    )
    alone = type(run)(tmp_path / "alone")
    alone.finish(*flags, JAX_ENABLE_X64="1")

    processes = _start_two(run, *flags)
    while len(run.metrics if (run.workdir / "metrics.jsonl").exists() else []) < 2:
        assert processes[0].poll() is None
        time.sleep(0.05)
    for process in processes:
        process.kill()
        process.communicate()
    assert not (run.workdir / "summary.json").exists()

    processes = _start_two(run, *flags)
    (output, errors), (other_output, other_errors) = (
        process.communicate(timeout=300) for process in processes
    )
    assert [process.returncode for process in processes] == [0, 0], errors + other_errors
    assert "resuming at step" in output
    # What every process learns, the first alone says.
    assert "epoch" not in other_output

    assert _epochs(run) == _epochs(alone) == list(range(5))
    for two, one in zip(run.metrics, alone.metrics, strict=True):
        for name in ("loss", "cross_entropy", "kl", "feature"):
            assert two["train"][name] == pytest.approx(one["train"][name], rel=1e-8)
        assert two["test"]["nll"] == pytest.approx(one["test"]["nll"], rel=1e-8)


def test_numbers_that_stop_being_finite_stop_the_run(run):
    """The last good checkpoint stays, and the line says where it began."""
    flags = ("--config.training.learning_rate=1e30", "--config.checkpoint.every_minutes=0")
    _, errors = run.finish(*flags, code=3)
    assert errors.count("\n") == 1
    assert "was not finite (" in errors
    assert "gradient_norm" in errors
    assert "loss" in errors
    first_bad = int(errors.split("step ")[1].split()[0])
    saved = sorted(int(path.name) for path in (run.workdir / "checkpoints").glob("[0-9]*"))
    assert saved
    assert saved[-1] <= first_bad
    assert not (run.workdir / "summary.json").exists()


def test_steps_that_are_not_finite_can_be_skipped(run):
    output, _ = run.finish(
        "--config.training.learning_rate=1e30", "--config.training.on_nonfinite=skip"
    )
    assert "steps skipped" in output
    assert run.summary["finished"]
    assert 0 < run.summary["skipped_steps"] < 16
