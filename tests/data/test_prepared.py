import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_cifar

from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.data.sources.catalogue import check_available
from skdsam_jax.installation import install_command
from skdsam_jax.options import ConfigError

CIFAR10_MEAN, CIFAR100_MEAN = (0.4914, 0.4822, 0.4465), (0.5071, 0.4865, 0.4409)


def _load(data_dir, name="cifar10", **options):
    return load_dataset(DataOptions(name=name, data_dir=str(data_dir), **options), 0)


def _complaint(data_dir, name="cifar10"):
    with pytest.raises(ConfigError) as error:
        _load(data_dir, name)
    assert "\n" not in str(error.value)
    return str(error.value)


def _pairs(images, labels):
    return {image.tobytes(): label for image, label in zip(images, labels.tolist(), strict=True)}


@pytest.mark.parametrize(
    ("name", "classes", "mean"), [("cifar10", 10, CIFAR10_MEAN), ("cifar100", 100, CIFAR100_MEAN)]
)
def test_every_image_with_its_label(data_dir, name, classes, mean):
    dataset = _load(data_dir, name)
    assert dataset.class_names == tuple(tiny_cifar.class_names(classes))
    assert dataset.mean == mean
    assert dataset.validation is None
    for split in ("train", "test"):
        found = getattr(dataset, split)
        expected = tiny_cifar.examples(split, classes)
        assert len(found) == tiny_cifar.SIZES[split]
        # TFDS shuffles what it prepares.
        assert _pairs(found.images, found.labels) == _pairs(*expected)


def test_the_second_time_is_the_same(data_dir):
    first, second = _load(data_dir), _load(data_dir)
    np.testing.assert_array_equal(first.train.images, second.train.images)
    np.testing.assert_array_equal(first.test.labels, second.test.labels)
    assert first.class_names == second.class_names


def test_the_folder_can_come_from_the_environment(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    assert load_dataset(DataOptions(name="cifar10"), 0).name == "cifar10"


def test_what_can_be_loaded_is_available(data_dir, cache):
    check_available(DataOptions(name="cifar10", data_dir=str(data_dir)))
    check_available(DataOptions())
    assert not cache.exists()


def test_images_can_be_resized(data_dir):
    dataset = _load(data_dir, image_size=8)
    assert dataset.image_shape == (8, 8, 3)
    assert dataset.test.images.shape == (20, 8, 8, 3)
    assert _load(data_dir).image_shape == (32, 32, 3)


def test_neither_tensorflow_nor_a_second_decoding(data_dir):
    code = (
        "import sys\n"
        "from skdsam_jax.data import DataOptions, load_dataset\n"
        "load_dataset(DataOptions(name='cifar100', data_dir=sys.argv[1]), 0)\n"
        "print('tensorflow' in sys.modules, 'tensorflow_datasets' in sys.modules)\n"
    )
    for uses_tfds in (True, False):
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, data_dir], capture_output=True, text=True
        )
        assert (result.stdout, result.stderr) == (f"False {uses_tfds}\n", "")


def test_the_newest_version_in_a_readable_format_is_taken(data_dir):
    versions = data_dir / "cifar10"
    shutil.copytree(versions / "3.0.2", versions / "3.0.10")
    shutil.copytree(versions / "3.0.2", versions / "4.0.0")
    _edit(versions / "4.0.0", "dataset_info.json", fileFormat="tfrecord")
    (versions / "3.0.2" / "features.json").unlink()
    (versions / "incomplete.XYZ_5.0.0").mkdir()
    assert len(_load(data_dir).train) == 40


def test_a_set_with_array_record_as_its_second_format_is_read(data_dir):
    folder = data_dir / "cifar10" / "3.0.2"
    _edit(
        folder,
        "dataset_info.json",
        fileFormat="tfrecord",
        alternativeFileFormats=["array_record"],
    )
    assert len(_load(data_dir).train) == 40


def test_a_missing_folder(tmp_path):
    missing = tmp_path / "nowhere"
    assert _complaint(missing) == f"config.data.data_dir: no such folder: {missing}"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    complaint = _complaint(tmp_path / "file")
    assert complaint == f"config.data.data_dir: no such folder: {tmp_path / 'file'}"


@pytest.mark.parametrize("tensorflow", [True, False])
def test_what_is_not_prepared_is_not_downloaded(tmp_path, monkeypatch, tensorflow):
    found = importlib.util.find_spec("json") if tensorflow else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    root = tmp_path / "my data"
    root.mkdir()
    install = "" if tensorflow else f"{install_command('prepare')} && "
    expected = (
        f"config.data.name: cifar10 is not prepared in {root}; run: {install}"
        f"python -m skdsam_jax prepare cifar10 --data_dir '{root}'"
    )
    assert _complaint(root) == expected
    with pytest.raises(ConfigError) as error:
        check_available(DataOptions(name="cifar10", data_dir=str(root)))
    assert str(error.value) == expected
    assert list(root.iterdir()) == []


def test_another_file_format(data_dir):
    _edit(data_dir / "cifar10" / "3.0.2", "dataset_info.json", fileFormat="tfrecord")
    assert _complaint(data_dir) == (
        f"{data_dir / 'cifar10'}: holds cifar10 only as tfrecord, but array_record is needed; "
        "prepare it into another folder: "
        "python -m skdsam_jax prepare cifar10 --data_dir ANOTHER_FOLDER"
    )


def test_labels_outside_the_classes(data_dir, cache):
    folder = data_dir / "cifar10" / "3.0.2"
    features = (folder / "features.json").read_text()
    (folder / "features.json").write_text(features.replace('"10"', '"9"'))
    names = (folder / "label.labels.txt").read_text().splitlines()
    (folder / "label.labels.txt").write_text("\n".join(names[:9]))
    assert _complaint(data_dir).startswith("dataset cifar10, split train: label 9 of example ")
    assert not cache.exists()


def _truncate(file):
    os.truncate(file, file.stat().st_size // 2)


def _flip_a_bit(file):
    contents = bytearray(file.read_bytes())
    contents[300] ^= 1
    file.write_bytes(contents)


@pytest.mark.parametrize("damage", [os.remove, _truncate, _flip_a_bit])
@pytest.mark.parametrize("split", ["train", "test"])
def test_damaged_records(data_dir, cache, damage, split):
    folder = data_dir / "cifar10" / "3.0.2"
    damage(folder / f"cifar10-{split}.array_record-00000-of-00001")
    complaint = _complaint(data_dir)
    assert complaint.startswith(f"{folder}: cannot be read (")
    assert complaint.endswith("delete the folder and prepare it again")
    assert not cache.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"alternativeFileFormats": 3}'])
def test_a_damaged_description(data_dir, text):
    description = data_dir / "cifar10" / "3.0.2" / "dataset_info.json"
    description.write_text(text)
    assert _complaint(data_dir).startswith(f"{description}: cannot be read (")


def _edit(folder, file, **changes):
    description = folder / file
    description.write_text(json.dumps(json.loads(description.read_text()) | changes))
