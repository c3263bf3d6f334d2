"""What a run says where that depends on what there is."""

import pathlib
import types

import numpy as np
import pytest

from skdsam_jax.experiment.run_options import TrainingOptions
from skdsam_jax.training import messages

FAULT = types.SimpleNamespace(
    first_skipped=7,
    skipped_sums={
        "count": np.array(16.0),
        "steps": np.array(1.0),
        "loss": np.array(np.nan),
        "correct": np.array([1.0]),
        "gradient_norm": np.array(np.inf),
    },
)


@pytest.mark.parametrize(
    ("saved", "kept"),
    [
        ([], "no checkpoint was saved yet."),
        (["3"], "its last good checkpoint is {}/3."),
        (["9", "damaged-12", "10"], "its last good checkpoint is {}/10."),
    ],
)
def test_a_fault_names_only_a_checkpoint_that_is_there(tmp_path, saved, kept):
    for name in saved:
        (tmp_path / name).mkdir()
    text = messages.describe_fault(FAULT, tmp_path, TrainingOptions())
    assert text.startswith("step 7 was not finite (gradient_norm inf, loss nan); the run stopped, ")
    assert kept.format(tmp_path) in text


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_fault_says_what_may_help(tmp_path, dtype):
    options = TrainingOptions(learning_rate=0.4, compute_dtype=dtype)
    text = messages.describe_fault(FAULT, tmp_path, options)
    assert "try a config.training.learning_rate below 0.4" in text
    assert ("config.training.compute_dtype=float32" in text) == (dtype == "bfloat16")
    assert "config.training.on_nonfinite=skip" in text


@pytest.mark.parametrize("tensorboard", [True, False])
def test_the_last_line_says_where_the_results_are(tensorboard):
    summary = {
        "test_accuracy": None,
        "epochs": 1,
        "config": {"logging": {"tensorboard": tensorboard}},
    }
    first, last = messages.describe_result(summary, pathlib.Path("runs/a")).splitlines()
    assert first == "1 epochs, not evaluated yet"
    curves = "; curves: tensorboard --logdir runs/a" if tensorboard else ""
    assert last == f"results are in runs/a/summary.json{curves}"
