"""Real processes, killed for real: a run ends with the numbers of one that nothing stopped."""

import random
import time

import pytest
from runs import Run, start_two

# The smallest of all, and many steps, each of which is saved; with an average of the weights.
EPOCHS, STEPS = 4, 16
LONGER = (
    "--config.method.name=cross_entropy",
    f"--config.training.epochs={EPOCHS}",
    "--config.checkpoint.every_minutes=0",
    "--config.training.ema_decay=0.9",
)
DIVERGING = ("--config.method.name=cross_entropy", "--config.training.learning_rate=1e30")


def _epochs(run):
    return [line["epoch"] for line in run.metrics]


def _saved(run):
    """The newest step on disk, finished or not."""
    names = (path.name for path in run.workdir.glob("checkpoints/*"))
    return max((int(name) for name in names if name.isdigit()), default=0)


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """A run that nothing stopped."""
    run = Run(tmp_path_factory.mktemp("longer") / "run")
    run.finish(*LONGER)
    return run


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_with_the_same_numbers(run, longer, kills):
    moments = random.Random(kills)
    for step in sorted(moments.sample(range(STEPS), kills)):
        process = run.start(*LONGER)
        # Its first line says that the process is past its imports: from there on anything may be
        # going on, a compilation, a step, an evaluation, a checkpoint or a line of metrics.
        process.stdout.readline()
        while process.poll() is None and _saved(run) < step:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.communicate()

    run.finish(*LONGER)
    assert run.summary["params_digest"] == longer.summary["params_digest"]
    assert _epochs(run) == list(range(EPOCHS))
    assert run.metrics == longer.metrics


@pytest.mark.slow
def test_two_processes_killed_and_resumed_equal_a_single_one(run, tmp_path):
    """12 steps under x64, where rounding hides no difference."""
    flags = (
        "--config.method.name=cross_entropy",
        "--config.training.epochs=3",
        "--config.training.learning_rate=0.01",
        "--config.checkpoint.every_minutes=0",
    )
    alone = Run(tmp_path / "alone")
    alone.finish(*flags, JAX_ENABLE_X64="1")

    processes = start_two(run, *flags)
    while processes[0].poll() is None and _saved(run) < 5:
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.communicate()

    processes = start_two(run, *flags)
    (output, _), (other_output, _) = (run.wait_for(process) for process in processes)
    assert "resuming at step" in output
    # What every process learns, the first alone says.
    assert "epoch" not in other_output

    assert _epochs(run) == _epochs(alone) == list(range(3))
    for two, one in zip(run.metrics, alone.metrics, strict=True):
        for name in ("loss", "cross_entropy"):
            assert two["train"][name] == pytest.approx(one["train"][name], rel=1e-8)
        assert two["test"]["nll"] == pytest.approx(one["test"]["nll"], rel=1e-8)


def test_numbers_that_stop_being_finite_stop_the_run(run):
    """The last good checkpoint stays, and the line says where it began."""
    _, errors = run.finish(*DIVERGING, "--config.checkpoint.every_minutes=0", code=3)
    assert errors.count("\n") == 1
    assert "was not finite (" in errors
    assert "gradient_norm" in errors
    assert "loss" in errors
    first_bad = int(errors.split("step ")[1].split()[0])
    saved = sorted(int(path.name) for path in (run.workdir / "checkpoints").glob("[0-9]*"))
    assert saved
    assert saved[-1] <= first_bad
    assert f"its last good checkpoint is {run.workdir / 'checkpoints' / str(saved[-1])}." in errors
    assert "try a config.training.learning_rate below 1e+30; config.training.on_n" in errors
    assert not run.summary["finished"]
    assert run.summary["failure"] == f"step {first_bad} was not finite"


@pytest.mark.slow
def test_steps_that_are_not_finite_can_be_skipped(run):
    output, _ = run.finish(*DIVERGING, "--config.training.on_nonfinite=skip")
    assert "steps skipped" in output
    assert run.summary["finished"]
    assert 0 < run.summary["skipped_steps"] < 16
