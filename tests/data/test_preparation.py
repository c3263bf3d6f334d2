"""Pictures are prepared as their set's test images were, whoever prepares them."""

import dataclasses
import io

import numpy as np
import pytest
import tiny_cifar
from PIL import Image

from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.data.sources.prepared_folders import find_prepared
from skdsam_jax.data.sources.prepared_records import PreparedRecords
from skdsam_jax.options import ConfigError
from skdsam_jax.trained.preparation import Preparation
from skdsam_jax.trained.record import describe_network
from skdsam_jax.trained.unrecorded import look_up_record


def _encoded(size, file_format="jpeg", orientation=1, mode="RGB"):
    """A picture of soft colours: on noise, decoding at a part of the size would differ too much."""
    noise = np.random.default_rng(size).integers(0, 256, (5, 5, 3), np.uint8)
    picture = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    picture.save(stream, file_format, exif=exif)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Pictures of many sizes; returns the folder, and those for testing in the order of the set."""
    files = []
    for split in ("train", "test"):
        for number in range(8):
            file = tmp_path / "folder" / split / "ab"[number // 4] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            size = (20 + 30 * number, 200 - 20 * number)
            file.write_bytes(_encoded(size, "jpeg" if number % 3 else "png", 1 + number))
            files += [file] if split == "test" else []
    return tmp_path / "folder", files


def _assert_looked_up_alike(tmp_path, dataset, options):
    """What a run of today writes down is what is found out about a run that did not."""
    config = {"data": dataclasses.asdict(options)}
    looked_up = look_up_record(tmp_path, config, dataset.num_classes)
    assert looked_up == describe_network(dataset, options)


@pytest.mark.parametrize("image_size", [None, 24])
def test_a_set_of_one_size(data_dir, tmp_path, image_size):
    options = DataOptions(name="cifar10", data_dir=str(data_dir), image_size=image_size)
    dataset = load_dataset(options, 0)
    prepare = describe_network(dataset, options).preparation
    records = PreparedRecords(find_prepared("cifar10", data_dir), "test")
    for index in range(tiny_cifar.SIZES["test"]):
        np.testing.assert_array_equal(prepare(records.read(index)[0]), dataset.test.images[index])
    _assert_looked_up_alike(tmp_path, dataset, options)


def test_a_folder_of_any_sizes(folder, tmp_path):
    root, files = folder
    options = DataOptions(name="folder", data_dir=str(root), image_size=16)
    dataset = load_dataset(options, 0)
    prepare = describe_network(dataset, options).preparation
    for file, image in zip(files, dataset.test.images, strict=True):
        np.testing.assert_array_equal(prepare(file), image)
    _assert_looked_up_alike(tmp_path, dataset, options)


def test_a_streamed_folder(folder, tmp_path):
    options = DataOptions(
        name="folder", data_dir=str(folder[0]), pipeline="streaming", crop="resized", image_size=32
    )
    dataset = load_dataset(options, 0)
    assert describe_network(dataset, options).preparation == Preparation(32, 224 / 256, True)
    _assert_looked_up_alike(tmp_path, dataset, options)


@pytest.mark.parametrize("reduced", [True, False])
def test_path_bytes_and_opened_picture_are_one(tmp_path, reduced):
    encoded = _encoded((40, 30), "png", orientation=6)
    (tmp_path / "picture").write_bytes(encoded)
    prepare = Preparation(16, 0.875, reduced)
    expected = prepare(encoded)
    assert expected.shape == (16, 16, 3)
    assert expected.dtype == np.uint8
    opened = Image.open(tmp_path / "picture")
    for picture in (tmp_path / "picture", str(tmp_path / "picture"), opened):
        np.testing.assert_array_equal(prepare(picture), expected)


def test_an_opened_picture_is_left_as_it_is():
    """Pillow decodes a large JPEG at a part of its size by changing the opened picture."""
    opened = Image.open(io.BytesIO(_encoded((400, 300))))
    prepared = Preparation(16, 1.0, True)(opened)
    assert opened.size == (400, 300)
    whole = Preparation(16, 1.0, False)(opened)
    assert np.abs(prepared.astype(int) - whole).max() <= 2


@pytest.mark.parametrize("mode", ["L", "P", "CMYK"])
def test_other_kinds_of_colour_become_rgb(mode):
    encoded = _encoded((40, 30), "tiff", mode=mode)
    for reduced in (True, False):
        assert Preparation(16, 1.0, reduced)(encoded).shape == (16, 16, 3)


@pytest.mark.parametrize("contents", [None, b"", b"no picture", _encoded((7, 20), "png")])
def test_what_is_no_picture_is_refused_by_name(tmp_path, contents):
    file = tmp_path / "picture.jpg"
    if contents is not None:
        file.write_bytes(contents)
    with pytest.raises(ConfigError) as error:
        Preparation(16, 1.0, True)(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
