"""Real runs of `train.py`, as small as they can be."""

import json
import os
import pathlib
import socket
import subprocess
import sys

from patience import HANGING

ROOT = pathlib.Path(__file__).parents[2]

# Compilation takes most of a small run's time. Tests that give no other numbers run one program,
# which the first of them compiles for all.
SMALL = (
    f"--config={ROOT / 'configs' / 'digits.py'}",
    "--config.model.name=wrn10_1",
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

    def wait_for(self, process, code=0):
        """Waits for the end of a process that was started; returns (stdout, stderr)."""
        output, errors = process.communicate(timeout=HANGING)
        assert process.returncode == code, errors
        return output, errors

    def finish(self, *flags, code=0, **environment):
        """Runs `train.py` to its end; returns (stdout, stderr)."""
        return self.wait_for(self.start(*flags, **environment), code)

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


def start_two(run, *flags):
    """Starts two processes that train as one, under x64; the caller waits for both."""
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
