"""Sets prepared for the tests, and a cache of their own."""

import shutil

import pytest
import tiny_cifar


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache; returns the folder of decoded images."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    return tmp_path / "cache" / "skdsam_jax" / "decoded"


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    for name in tiny_cifar.BUILDERS:
        tiny_cifar.prepare(name, root)
    return root


@pytest.fixture
def data_dir(_prepared, tmp_path):
    """A folder with both sets prepared, which a test may damage."""
    return shutil.copytree(_prepared, tmp_path / "data")
