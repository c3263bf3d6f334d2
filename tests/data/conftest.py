"""Sets prepared for the tests, and a cache of their own."""

import shutil

import fabricated
import pytest
import tiny_cifar

from skdsam_jax.data import DataOptions, load_dataset


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


@pytest.fixture(scope="session")
def animals(tmp_path_factory):
    """A folder of two classes, 21 training and 13 test images of many sizes."""
    root = tmp_path_factory.mktemp("stream") / "animals"
    number = 0
    for split, counts in (("train", (11, 10)), ("test", (6, 7))):
        for name, count in zip(("bee", "cow"), counts, strict=True):
            (root / split / name).mkdir(parents=True)
            for _ in range(count):
                number += 1
                size = (20 + number % 5, 20 + number % 7)
                contents = fabricated.picture(number, "L" if number % 6 == 0 else "RGB", size)
                (root / split / name / f"{number:02d}.jpg").write_bytes(contents)
    return root


@pytest.fixture
def photographs(animals):
    """These images, to be streamed at 12 pixels."""
    options = DataOptions(
        name="folder", data_dir=str(animals), image_size=12, pipeline="streaming", crop="resized"
    )
    return load_dataset(options, 5)
