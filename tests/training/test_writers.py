"""What goes to TensorBoard of a line of metrics: its numbers, each with its path."""

import json

from skdsam_jax.experiment.run_options import LoggingOptions
from skdsam_jax.training.workdir import Workdir
from skdsam_jax.training.writers import MetricWriter


def test_numbers_are_written_and_names_are_not(tmp_path):
    line = {
        "epoch": 0,
        "step": 4,
        "images_per_second": None,
        "test": {"others": ["aggregated"], "aggregated_accuracy": 0.5, "exit_nll": [1.5, 2]},
    }
    with MetricWriter(Workdir(tmp_path), LoggingOptions(), first_epoch=0) as writer:
        writer.write(line)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == line
    [events] = tmp_path.glob("events.out.tfevents.*")
    written = events.read_bytes()
    for name in (b"test/aggregated_accuracy", b"test/exit_nll/1", b"test/exit_nll/2"):
        assert name in written
    for name in (b"others", b"images_per_second", b"epoch"):
        assert name not in written
