"""The picture of what a network sees, pixel by pixel, and the command that draws it."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from patience import HANGING
from PIL import Image

from skdsam_jax.commands.preview import draw, main, tile
from skdsam_jax.data import DataOptions, Dataset, Split, load_dataset
from skdsam_jax.data.augmentation.distort import Look
from skdsam_jax.data.pipelines.keys import moment_of
from skdsam_jax.data.pipelines.order import ReadingOrder
from skdsam_jax.data.pipelines.photograph_crops import central_crops, random_crops
from skdsam_jax.data.pipelines.resident import place, training_batch
from skdsam_jax.methods import find_method
from skdsam_jax.options import ConfigError
from skdsam_jax.reads import once, twice, with_companions, with_previous

ROOT = pathlib.Path(__file__).parents[2]
# Enlarged 12 times to 96 pixels, behind a gap of 4.
SIDE, PITCH = 8, 100


@pytest.fixture(scope="module")
def dataset():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (20, SIDE, SIDE, 3), np.uint8)
    split = Split(images, generator.integers(0, 5, 20, np.int32))
    return Dataset("random", tuple("abcde"), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), split, None, split)


def _tiles(grid):
    """uint8 [rows, columns, side, side, 3]: one pixel of each enlarged block."""
    rows, columns = (grid.shape[0] - 4) // PITCH, (grid.shape[1] - 4) // PITCH
    blocks = grid[:-4, :-4].reshape(rows, PITCH, columns, PITCH, 3)[:, 4:, :, 4:]
    return blocks[:, ::12, :, ::12].swapaxes(1, 2)


def _draw(dataset, options, **changes):
    settings = {"seed": 3, "batch_size": 10, "images": 4, "versions": 2}
    return draw(dataset, options, **{**settings, **changes})


def test_rows_are_an_image_and_what_training_makes_of_it(dataset):
    options = DataOptions(crop_padding=2, cutout="mean")
    grid = _draw(dataset, options)
    assert grid.shape == (4 * PITCH + 4, 3 * PITCH + 4, 3)
    assert np.all(grid[:4] == 255)
    rows = ReadingOrder(3, 20, 10).epoch(0)[0]
    batch = training_batch(
        place(dataset.train),
        rows,
        moment_of(3, 0, steps_per_epoch=2, epochs=1),
        seed=3,
        options=options,
        look=Look((SIDE, SIDE), dataset.mean, dataset.std, 5),
    )
    expected = (np.asarray(batch.images[:4]) * dataset.std + dataset.mean) * 255
    tiles = _tiles(grid)
    np.testing.assert_array_equal(tiles[:, 0], dataset.train.images[np.asarray(rows[:4, 0])])
    np.testing.assert_array_equal(tiles[:, 1], expected.round().clip(0, 255))
    assert np.any(tiles[:, 2] != tiles[:, 1])


def test_views_of_a_method_stand_side_by_side(dataset):
    options = DataOptions(crop_padding=0, flip=False)
    views = find_method("skdsam_sla").views
    tiles = _tiles(_draw(dataset, options, versions=1, images=2, views=views))
    assert tiles.shape[1] == 5
    for row in tiles:
        for turn in range(4):
            np.testing.assert_array_equal(row[1 + turn], np.rot90(row[0], turn))


@pytest.mark.parametrize("reads", [twice, with_companions(2, include_self=False)])
def test_reads_of_an_anchor_stand_side_by_side(dataset, reads):
    """Undistorted, so that each tile says which example it is."""
    options = DataOptions(crop_padding=0, flip=False)
    four_of_each = Split(dataset.train.images, np.arange(20, dtype=np.int32) % 5)
    dataset = dataclasses.replace(dataset, train=four_of_each)
    labels = dataset.train.labels if reads.needs_labels else None
    rows = np.asarray(ReadingOrder(3, 20, 10, reads, labels).epoch(0)[0, :4])
    tiles = _tiles(_draw(dataset, options, reads=reads))
    # The images of a run's first step stay in the epochs after it.
    expected = np.concatenate([rows[:, :1], rows, rows], axis=1)
    np.testing.assert_array_equal(tiles, dataset.train.images[expected])


def test_reads_and_views_multiply(dataset):
    options = DataOptions(crop_padding=0, flip=False)
    views = find_method("skdsam_sla").views
    settings = {"versions": 1, "images": 2, "views": views, "reads": twice}
    tiles = _tiles(_draw(dataset, options, **settings))
    assert tiles.shape[1] == 1 + 2 * 4
    np.testing.assert_array_equal(tiles[:, 1:5], tiles[:, 5:])


def test_what_the_reads_cannot_read_is_refused(dataset):
    with pytest.raises(ConfigError, match=r"config\.method: 9 companions of each image take"):
        _draw(dataset, DataOptions(), reads=with_companions(9, include_self=True))


def test_no_more_rows_are_drawn_than_a_batch_has_images(dataset):
    assert _tiles(_draw(dataset, DataOptions(), images=12, versions=1)).shape[:2] == (10, 2)


@pytest.mark.parametrize("reads", [once, twice, with_previous])
def test_streamed_photographs_are_cropped_once(tmp_path, reads):
    generator = np.random.default_rng(0)
    for name in ("train/bee", "train/cow", "test/bee", "test/cow"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    options = DataOptions(
        name="folder",
        data_dir=str(tmp_path),
        pipeline="streaming",
        crop="resized",
        image_size=8,
        flip=False,
    )
    photographs = load_dataset(options, seed=3)
    tiles = _tiles(_draw(photographs, options, batch_size=6, reads=reads, images=12))
    rows = np.asarray(ReadingOrder(3, 6, 6, reads).epoch(0)[0])
    for epoch, drawn in enumerate(np.split(tiles[:, 1:], 2, axis=1)):
        expected, _ = random_crops(
            photographs.train, rows.reshape(-1), np.arange(rows.size), seed=3, epoch=epoch, step=0
        )
        np.testing.assert_array_equal(drawn.reshape(expected.shape), expected)
    np.testing.assert_array_equal(tiles[:, 0], central_crops(photographs.train, rows[:, 0])[0])


def test_large_images_are_not_enlarged():
    images = np.zeros((1, 2, 120, 100, 3), np.uint8)
    assert tile(images).shape == (128, 212, 3)


def test_the_command_writes_a_picture(tmp_path):
    path = tmp_path / "grid.png"
    flags = ["--config=configs/digits.py", f"--out={path}", "--images=2", "--versions=3"]
    result = subprocess.run(
        [sys.executable, "-m", "skdsam_jax", "preview", *flags],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGING,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{path}: 404x204 pixels\n"
    with Image.open(path) as picture:
        assert picture.size == (404, 204)


# ml_collections loads config files in a way that Python means to drop.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/digits.py"], "--out is missing; for example --out grid.png"),
        (["--config=configs/none.py", "--out=a.png"], "there is no file configs/none.py"),
        (["--config=configs/digits.py", "--out=a.png", "--config.data.cut=1"], "config.data.cut"),
        (["--config=configs/digits.py", "--out=a.png", "--images=0"], "--images"),
        (["--config=configs/digits.py", "--out=/nowhere/a.png"], "--out: /nowhere/a.png cannot be"),
        (["--config=configs/digits.py", "--out=a.doc"], "--out: a.doc cannot be written"),
        (["--config=configs/cifar100.py:recipe=labs", "--out=a.png"], "did you mean lab?"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert output == ""


def test_help_lists_flags_and_fields(capsys):
    assert main(["--help"]) == 0
    output, _ = capsys.readouterr()
    assert "--versions" in output
    assert "mixup" in output


def test_mixup_finds_partners_within_the_batch(dataset):
    options = DataOptions(crop_padding=0, flip=False, mixup_alpha=1.0)
    tiles = _tiles(_draw(dataset, options, images=10, versions=1))
    rows = ReadingOrder(3, 20, 10).epoch(0)[0]
    images = dataset.train.images[np.asarray(rows[:, 0])].reshape(10, -1).astype(float)
    weights = np.linalg.lstsq(images.T, tiles[:, 1].reshape(10, -1).T.astype(float), rcond=None)[0]
    np.testing.assert_allclose(weights.sum(0), 1, atol=0.01)
    assert np.max(np.sum(weights > 0.02, axis=0)) == 2
