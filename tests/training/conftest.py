"""Runs that tests may spoil, and one that they may not."""

import fcntl

import pytest
from runs import Run


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, worker_id):
    """A run that nothing stopped, one for all processes of pytest; no test may change it."""
    root = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        root = root.parent  # The workers' folders are in one of this test run.
    run = Run(root / "undisturbed" / "run")
    output = root / "undisturbed" / "output"
    output.parent.mkdir(exist_ok=True)
    with open(output.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            output.write_text(run.finish()[0])
    run.output = output.read_text()
    return run
