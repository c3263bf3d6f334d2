"""Real runs of `train.py` on a folder of photographs."""

import io
import time

import numpy as np
import pytest
from PIL import Image
from runs import Run, start_two


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """48 training and 20 test images of two colours, 16 to 24 pixels wide."""
    root = tmp_path_factory.mktemp("photographs") / "colours"
    generator = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 10)):
        for label, name in enumerate(("blue", "red")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 200, (20, 16 + number % 9, 3), np.uint8)
                pixels[..., 2 * (1 - label)] += 55
                encoded = io.BytesIO()
                Image.fromarray(pixels).save(encoded, "jpeg")
                (root / split / name / f"{number}.jpg").write_bytes(encoded.getvalue())
    return root


@pytest.fixture
def flags(photographs):
    return (
        "--config.method.name=cross_entropy",
        "--config.data.name=folder",
        f"--config.data.data_dir={photographs}",
        "--config.data.pipeline=streaming",
        "--config.data.crop=resized",
        "--config.data.flip=True",
        "--config.data.image_size=16",
        "--config.data.train_examples=40",
        "--config.data.validation_fraction=0.125",
        "--config.training.batch_size=8",
        "--config.training.epochs=3",
        "--config.evaluation.batch_size=16",
    )


# The quick run kills one on resident data, and looks at a stream's batches from any step.
@pytest.mark.slow
def test_a_run_that_was_stopped_equals_one_that_was_not(run, tmp_path, flags):
    undisturbed = Run(tmp_path / "undisturbed")
    undisturbed.finish(*flags, "--config.data.workers=1")
    assert undisturbed.summary["dataset"] == "colours"

    # Killed somewhere in an epoch, and gone on with another number of workers.
    process = run.start(*flags, "--config.data.workers=2", "--config.checkpoint.every_minutes=0")
    while process.poll() is None and not list(run.workdir.glob("checkpoints/[0-9]")):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    output, _ = run.finish(*flags, "--config.data.workers=0")
    assert "resuming at step" in output
    assert run.summary["params_digest"] == undisturbed.summary["params_digest"]
    assert run.metrics == undisturbed.metrics


@pytest.mark.slow
def test_two_processes_equal_a_single_one(run, tmp_path, flags):
    """Under x64, where rounding hides no difference."""
    flags = (
        *flags,
        "--config.training.epochs=2",
        "--config.training.learning_rate=0.01",
        "--config.data.workers=1",
    )
    alone = Run(tmp_path / "alone")
    alone.finish(*flags, JAX_ENABLE_X64="1")
    for process in start_two(run, *flags):
        run.wait_for(process)
    for two, one in zip(run.metrics, alone.metrics, strict=True):
        assert two["train"]["loss"] == pytest.approx(one["train"]["loss"], rel=1e-8)
        assert two["test"]["nll"] == pytest.approx(one["test"]["nll"], rel=1e-8)
        assert two["validation"]["accuracy"] == one["validation"]["accuracy"]


def test_a_damaged_photograph_stops_the_run_before_it_begins(run, flags, photographs):
    damaged = photographs / "train" / "red" / "damaged.jpg"
    damaged.write_bytes(b"no photograph")
    try:
        _, errors = run.finish(*flags, code=2)
    finally:
        damaged.unlink()
    assert errors.startswith(f"error: {damaged}: is no picture that can be read; take it out")
    assert errors.count("\n") == 1
    assert not run.workdir.exists()


def test_streaming_takes_a_step_at_a_time(run, flags):
    _, errors = run.finish(*flags, "--config.training.steps_per_dispatch=5", code=2)
    assert errors == "error: config.training.steps_per_dispatch: takes 1 when streaming, not 5\n"
