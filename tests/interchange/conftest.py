"""Tiny networks in the library's tables, and a run that trained one of them."""

import fabricated
import pytest
from tiny_runs import train


@pytest.fixture(autouse=True, scope="package")
def _tiny_networks():
    with fabricated.registered():
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Ten digits, the stem of ImageNet, two checkpoints; no test may change it."""
    fields = {"model.stem": "imagenet", "checkpoint.every_minutes": 0.0}
    with fabricated.registered():
        return train(tmp_path_factory.mktemp("run") / "digits", **fields)
