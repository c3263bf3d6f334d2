"""Real runs of `train.py`, as small as they can be."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

SMALL = (
    f"--config={ROOT / 'configs' / 'digits.py'}",
    "--config.model.width=4",
    "--config.data.train_examples=64",
    "--config.training.batch_size=16",
    "--config.training.epochs=4",
)


class Run:
    """A workdir, and processes that train in it."""

    def __init__(self, workdir):
        self.workdir = pathlib.Path(workdir)

    def start(self, *flags, **environment):
        """Starts `train.py`; the caller waits for it."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *SMALL, f"--workdir={self.workdir}", *flags],
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "1", **environment},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, *flags, code=0, **environment):
        """Runs `train.py` to its end; returns (stdout, stderr)."""
        process = self.start(*flags, **environment)
        output, errors = process.communicate(timeout=600)
        assert process.returncode == code, errors
        return output, errors

    @property
    def summary(self):
        return json.loads((self.workdir / "summary.json").read_text())

    @property
    def metrics(self):
        """The lines of `metrics.jsonl`, without what is measured by the clock."""
        lines = (self.workdir / "metrics.jsonl").read_text().splitlines()
        return [
            {name: value for name, value in json.loads(line).items() if name != "images_per_second"}
            for line in lines
        ]


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """A run that nothing stopped."""
    run = Run(tmp_path_factory.mktemp("undisturbed") / "run")
    run.output = run.finish()[0]
    return run
