"""Tiny networks in the library's tables, and a run that trained one of them."""

import pytest
from tiny_runs import train
from untrained_networks import registered


@pytest.fixture(autouse=True, scope="module")
def _tiny_networks():
    with registered():
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Ten digits, the stem of ImageNet, two checkpoints; no test may change it."""
    fields = {"model.stem": "imagenet", "checkpoint.every_minutes": 0.0}
    with registered():
        return train(tmp_path_factory.mktemp("run") / "digits", **fields)
