"""Our TFDS builders, on fabricated archives in the original layouts."""

import functools
import http.server
import os
import sys
import threading

import fabricated
import numpy as np
import pytest
import tensorflow_datasets as tfds

from skdsam_jax.commands import prepare
from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.data.sources import builders
from skdsam_jax.data.sources.builders import MitIndoor67, Stanford40Actions, TinyImagenet

BUILDERS = {
    "tiny_imagenet": TinyImagenet,
    "stanford40_actions": Stanford40Actions,
    "mit_indoor67": MitIndoor67,
}


@pytest.fixture(params=sorted(BUILDERS))
def one(request, monkeypatch):
    """A fabricated set; its builder expects as much as it holds."""
    return _expect(fabricated.SETS[request.param](), monkeypatch)


@pytest.fixture
def tiny(monkeypatch):
    return _expect(fabricated.tiny_imagenet(), monkeypatch)


def _expect(one, monkeypatch):
    monkeypatch.setattr(BUILDERS[one.name], "CLASSES", one.classes)
    monkeypatch.setattr(BUILDERS[one.name], "SIZES", one.sizes)
    # Preparing hides GPUs from TensorFlow.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    return one


def _prepare(one, tmp_path, *flags):
    one.write(tmp_path / "manual")
    arguments = ["--data_dir", tmp_path / "data", "--manual_dir", tmp_path / "manual"]
    prepare.main([one.name, *map(str, arguments), *flags])


def _complaint(one, tmp_path, *flags):
    """The one line of a failure that left nothing behind."""
    with pytest.raises(SystemExit) as error:
        _prepare(one, tmp_path, *flags)
    message = str(error.value)
    prefix = f"error: preparing {one.name} in {tmp_path / 'data'} failed: "
    assert message.startswith(prefix)
    assert "\n" not in message
    assert os.listdir(tmp_path) == ["manual"]
    return message.removeprefix(prefix)


def _load(one, tmp_path, **options):
    return load_dataset(DataOptions(name=one.name, data_dir=str(tmp_path / "data"), **options), 0)


def test_official_sizes_and_names():
    found = {name: (cls.CLASSES, dict(cls.SIZES)) for name, cls in BUILDERS.items()}
    assert found == {
        "tiny_imagenet": (200, {"train": 100_000, "test": 10_000}),
        "stanford40_actions": (40, {"train": 4_000, "test": 5_532}),
        "mit_indoor67": (67, {"train": 5_360, "test": 1_340}),
    }
    for name, cls in BUILDERS.items():
        assert tfds.builder_cls(name) is cls
    assert {cls.__name__ for cls in BUILDERS.values()} == set(builders.__all__)


def test_every_picture_as_it_was_with_its_label(one, tmp_path, capsys):
    _prepare(one, tmp_path)
    folder = tmp_path / "data" / one.name / "1.0.0"
    counts = ", ".join(f"{size} images in split {split}" for split, size in one.sizes.items())
    assert capsys.readouterr().out == f"{one.name} is prepared in {folder}: {counts}\n"
    assert "tensorflow" not in sys.modules
    assert os.listdir(tmp_path / "data") == [one.name]

    builder = tfds.builder_from_directory(folder)
    names = builder.info.features["label"].names
    skip = {"image": tfds.decode.SkipDecoding()}
    for split, expected in one.expected.items():
        found = {}
        for example in builder.as_data_source(split, decoders=skip):
            found.setdefault(names[example["label"]], []).append(example["image"])
        assert {name: sorted(pictures) for name, pictures in found.items()} == {
            name: sorted(pictures) for name, pictures in expected.items()
        }


def test_the_prepared_set_loads(one, tmp_path):
    _prepare(one, tmp_path)
    dataset = _load(one, tmp_path, image_size=16)
    assert dataset.name == one.name
    assert dataset.image_shape == (16, 16, 3)
    assert set(dataset.class_names) == set(one.expected["train"])
    for split, expected in one.expected.items():
        labels = getattr(dataset, split).labels
        counts = {dataset.class_names[label]: sum(labels == label) for label in set(labels)}
        assert counts == {name: len(pictures) for name, pictures in expected.items()}


def test_tiny_imagenet_is_loaded_at_its_own_size(tiny, tmp_path):
    _prepare(tiny, tmp_path)
    dataset = _load(tiny, tmp_path)
    assert dataset.class_names == ("n01", "n02", "n03")
    assert dataset.mean == (0.4802, 0.4481, 0.3975)
    assert dataset.std == (0.2770, 0.2691, 0.2821)
    for split, expected in tiny.expected.items():
        found = getattr(dataset, split)
        pairs = zip(found.images, found.labels, strict=True)
        assert {image.tobytes(): dataset.class_names[label] for image, label in pairs} == {
            fabricated.decoded(encoded).tobytes(): name
            for name, pictures in expected.items()
            for encoded in pictures
        }


def test_photographs_need_a_size_to_be_resident(tmp_path, monkeypatch):
    one = _expect(fabricated.mit_indoor67(), monkeypatch)
    _prepare(one, tmp_path)
    with pytest.raises(ValueError, match=r"^config\.data\.image_size: must be set for mit_indoor"):
        _load(one, tmp_path)


def _cut(contents):
    return contents[: len(contents) // 2]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda contents: b"", "is empty"),
        (lambda contents: b"no picture", "is no picture that can be read"),
        (lambda contents: contents[:-100], "cannot be decoded (image file is truncated"),
        (lambda contents: fabricated.picture(0, size=(1, 1)), "is 1x1 pixels, at least 8x8"),
    ],
)
def test_a_damaged_picture_is_named(one, tmp_path, damage, reason):
    name = one.first_training_picture()
    one.pictures[name] = damage(one.pictures[name])
    complaint = _complaint(one, tmp_path)
    assert complaint.startswith(f"{tmp_path / 'manual' / one.picture_archive}: {name} {reason}")


def test_fewer_pictures_than_there_should_be(one, tmp_path, monkeypatch):
    monkeypatch.setattr(BUILDERS[one.name], "SIZES", one.sizes | {"test": 1000})
    assert _complaint(one, tmp_path) == (
        f"{one.sizes['test']} pictures in split test, but {one.name} has 1,000; "
        "--allow_partial takes them all the same"
    )


def test_a_part_of_a_set_says_that_it_is_one(one, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(BUILDERS[one.name], "SIZES", {"train": 1000, "test": 500})
    _prepare(one, tmp_path, "--allow_partial")
    dataset = _load(one, tmp_path, image_size=8)
    assert dataset.name == f"{one.name} (partial)"
    assert caplog.messages[-1] == (
        f"{tmp_path / 'data' / one.name / '1.0.0'}: only a part of {one.name}: "
        f"{one.sizes['train']} of 1,000 train images and {one.sizes['test']} of 500 test images"
    )


def test_a_part_is_not_taken_for_the_whole(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(TinyImagenet, "SIZES", {"train": 1000, "test": 500})
    _prepare(tiny, tmp_path, "--allow_partial")
    _prepare(tiny, tmp_path, "--allow_partial")
    with pytest.raises(SystemExit) as error:
        _prepare(tiny, tmp_path)
    folder = tmp_path / "data" / "tiny_imagenet" / "1.0.0"
    assert str(error.value) == (
        f"error: {folder}: holds only a part of tiny_imagenet; delete it to prepare the whole set"
    )


def test_a_partial_archive_may_lack_what_its_lists_name(one, tmp_path):
    del one.pictures[one.first_training_picture()]
    _prepare(one, tmp_path, "--allow_partial")
    assert len(_load(one, tmp_path, image_size=8).train) == one.sizes["train"] - 1


def test_a_whole_set_is_not_partial(one, tmp_path, caplog):
    _prepare(one, tmp_path, "--allow_partial")
    assert _load(one, tmp_path, image_size=8).name == one.name
    assert not caplog.messages


def test_more_pictures_than_there_should_be(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(TinyImagenet, "SIZES", tiny.sizes | {"train": 11})
    complaint = _complaint(tiny, tmp_path, "--allow_partial")
    assert complaint == "12 pictures in split train, but tiny_imagenet has 11"


def test_a_wrong_number_of_classes(one, tmp_path, monkeypatch):
    monkeypatch.setattr(BUILDERS[one.name], "CLASSES", 200)
    assert _complaint(one, tmp_path, "--allow_partial") == (
        f"{one.classes} classes, but {one.name} has 200"
    )


def test_a_class_without_training_pictures(tiny, tmp_path):
    for number in range(4):
        del tiny.pictures[f"tiny-imagenet-200/train/n02/images/n02_{number}.JPEG"]
    complaint = _complaint(tiny, tmp_path, "--allow_partial")
    assert complaint == "class n02 has no picture in split train"


def test_a_picture_that_a_list_names_and_the_archive_lacks(tmp_path, monkeypatch):
    one = _expect(fabricated.mit_indoor67(), monkeypatch)
    name = one.first_training_picture()
    del one.pictures[name]
    assert _complaint(one, tmp_path) == (
        f"{tmp_path / 'manual' / 'indoorCVPR_09.tar'}: has no {name}, which the lists name"
    )


def test_an_unknown_class_in_a_list(tmp_path, monkeypatch, tiny):
    one = _expect(fabricated.mit_indoor67(), monkeypatch)
    one.pictures["Images/cave/1.jpg"] = fabricated.picture(1)
    one.archives["TestImages.txt"] = one.archives["TestImages.txt"].replace(
        one.archives["TestImages.txt"].splitlines()[0], "cave/1.jpg"
    )
    assert _complaint(one, tmp_path) == "split test names an unknown class cave"

    tiny.pictures["tiny-imagenet-200/val/val_annotations.txt"] += "val_0.JPEG\tn09\t0\t0\t1\t1\n"
    (tmp_path / "tiny").mkdir()
    assert _complaint(tiny, tmp_path / "tiny").endswith(
        "val_annotations.txt gives val_0.JPEG the class 'n09', which is not in wnids.txt"
    )


def test_a_missing_archive(one, tmp_path):
    archive = tmp_path / "manual" / one.picture_archive
    write = one.write

    def write_another(folder):
        write(folder)
        archive.rename(archive.with_name("another name"))

    one.write = write_another
    assert _complaint(one, tmp_path) == f"{archive}: cannot be read (No such file or directory)"


@pytest.mark.parametrize("damage", [lambda contents: b"<html>", _cut, lambda contents: b""])
def test_a_damaged_archive(one, tmp_path, damage):
    archive = tmp_path / "manual" / one.picture_archive
    write = one.write
    one.write = lambda folder: (write(folder), archive.write_bytes(damage(archive.read_bytes())))
    assert _complaint(one, tmp_path).startswith(f"{archive}: ")


def test_a_zip_whose_checksums_are_wrong(tiny, tmp_path):
    archive = tmp_path / "manual" / "tiny-imagenet-200.zip"
    name = tiny.first_training_picture()

    def flip_a_bit(folder, write=tiny.write):
        write(folder)
        contents = bytearray(archive.read_bytes())
        contents[contents.find(tiny.pictures[name]) + 300] ^= 1
        archive.write_bytes(contents)

    tiny.write = flip_a_bit
    complaint = _complaint(tiny, tmp_path)
    assert complaint == f"{archive}: {name} is damaged (Bad CRC-32 for file {name!r})"


def test_flags_that_cannot_be(tmp_path):
    (tmp_path / "empty").mkdir()
    for flags, complaint in (
        (["cifar10", "--allow_partial"], "error: --allow_partial: only for "),
        (
            ["tiny_imagenet", "--manual_dir", str(tmp_path / "nowhere")],
            f"error: --manual_dir: no files in {tmp_path / 'nowhere'}",
        ),
        (
            ["tiny_imagenet", "--manual_dir", str(tmp_path / "empty")],
            f"error: --manual_dir: no files in {tmp_path / 'empty'}",
        ),
    ):
        with pytest.raises(SystemExit) as error:
            prepare.main([*flags, "--data_dir", str(tmp_path)])
        assert str(error.value).startswith(complaint)


@pytest.fixture
def server(tmp_path):
    """A web server; returns its address and the folder it serves."""
    handler = functools.partial(_Silent, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path / "www"
        server.shutdown()
        thread.join()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_archives_are_downloaded_without_tensorflow(one, server, tmp_path, monkeypatch):
    address, served = server
    monkeypatch.setattr(
        BUILDERS[one.name], "URLS", {name: f"{address}/{name}" for name in one.archives}
    )
    one.write(served)
    prepare.main([one.name, "--data_dir", str(tmp_path / "data")])
    assert len(_load(one, tmp_path, image_size=8).test) == one.sizes["test"]
    # The archives themselves are not kept.
    assert os.listdir(tmp_path / "data") == [one.name]
    assert "tensorflow" not in sys.modules


def test_a_download_that_fails(tiny, server, tmp_path, monkeypatch):
    address, served = server
    monkeypatch.setattr(
        TinyImagenet, "URLS", {"tiny-imagenet-200.zip": f"{address}/tiny-imagenet-200.zip"}
    )
    served.mkdir()
    with pytest.raises(SystemExit) as error:
        prepare.main(["tiny_imagenet", "--data_dir", str(tmp_path / "data")])
    assert f"{address}/tiny-imagenet-200.zip" in str(error.value)
    assert "404" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


def test_no_network(one, tmp_path, monkeypatch):
    nowhere = "http://nowhere.invalid"
    monkeypatch.setattr(
        BUILDERS[one.name], "URLS", {name: f"{nowhere}/{name}" for name in one.archives}
    )
    monkeypatch.setattr(prepare, "_DOWNLOAD_RETRIES", 0)
    monkeypatch.setenv("no_proxy", "*")
    data = tmp_path / "data"
    with pytest.raises(SystemExit) as error:
        prepare.main([one.name, "--data_dir", str(data)])
    message = str(error.value)
    assert message.startswith(
        f"error: preparing {one.name} in {data} failed: cannot download {nowhere}/"
    )
    assert message.endswith(
        f"; or download {', '.join(one.archives)} yourself into a folder and run: "
        f"python -m skdsam_jax prepare {one.name} --data_dir {data} --manual_dir FOLDER"
    )
    assert "ailed to resolve 'nowhere.invalid'" in message
    assert "Pool" not in message
    assert "\n" not in message


def test_a_grey_picture_becomes_three_equal_channels(tiny, tmp_path):
    _prepare(tiny, tmp_path)
    grey = {
        fabricated.decoded(pictures[0]).tobytes() for pictures in tiny.expected["train"].values()
    }
    found = [image for image in _load(tiny, tmp_path).train.images if image.tobytes() in grey]
    assert len(found) == 3
    for image in found:
        np.testing.assert_array_equal(image[..., 0], image[..., 2])
