import os
import shutil

import fabricated
import numpy as np
import pytest
from PIL import Image

from skdsam_jax.data import DataOptions, EncodedSplit, load_dataset
from skdsam_jax.options import ConfigError

CLASSES = ("bee", "cow", "zebra")

ADVICE = "; take it out, or leave it out with config.data.skip_unreadable=True"


def _fill(folder, first, count, size=(20, 20), file_format="jpeg"):
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        path = folder / f"{number}.{file_format}"
        path.write_bytes(fabricated.picture(number, size=size, file_format=file_format))


@pytest.fixture
def split_tree(tmp_path):
    """`train` and `test`, three classes of 4 and 2 images."""
    for label, name in enumerate(CLASSES):
        _fill(tmp_path / "animals" / "train" / name, 10 * label, 4, (20 + label, 24))
        _fill(tmp_path / "animals" / "test" / name, 100 + 10 * label, 2)
    return tmp_path / "animals"


@pytest.fixture
def one_tree(tmp_path):
    """Three classes of 10 images."""
    for label, name in enumerate(CLASSES):
        _fill(tmp_path / "animals" / name, 10 * label, 10)
    return tmp_path / "animals"


def _load(root, pipeline="resident", **options):
    defaults = {"image_size": 16} if pipeline == "resident" else {"crop": "resized"}
    chosen = DataOptions(name="folder", data_dir=str(root), pipeline=pipeline, **defaults | options)
    return load_dataset(chosen, 0)


def _complaint(root, pipeline="resident", **options):
    with pytest.raises(ConfigError) as error:
        _load(root, pipeline, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def _expected(path, side):
    image = Image.open(path).convert("RGB")
    shorter = min(image.size)
    left, upper = (image.width - shorter) // 2, (image.height - shorter) // 2
    image = image.crop((left, upper, left + shorter, upper + shorter))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def test_resident_images_are_central_squares_with_their_labels(split_tree):
    dataset = _load(split_tree)
    assert dataset.name == "animals"
    assert dataset.class_names == CLASSES
    assert dataset.mean == (0.485, 0.456, 0.406)
    assert dataset.image_shape == (16, 16, 3)
    np.testing.assert_array_equal(dataset.train.labels, np.repeat([0, 1, 2], 4))
    np.testing.assert_array_equal(dataset.test.labels, np.repeat([0, 1, 2], 2))
    for split in ("train", "test"):
        files = sorted((split_tree / split).glob("*/*"))
        expected = np.stack([_expected(path, 16) for path in files])
        np.testing.assert_array_equal(getattr(dataset, split).images, expected)


def test_streamed_images_are_the_files_themselves(split_tree):
    dataset = _load(split_tree, "streaming")
    assert isinstance(dataset.train, EncodedSplit)
    assert dataset.image_shape == (224, 224, 3)
    assert _load(split_tree, "streaming", image_size=64).image_shape == (64, 64, 3)
    np.testing.assert_array_equal(dataset.train.labels, np.repeat([0, 1, 2], 4))
    for index, path in enumerate(sorted((split_tree / "test").glob("*/*"))):
        assert dataset.test.records.read(index) == (path.read_bytes(), index // 2)


def test_every_kind_of_image(split_tree):
    folder = split_tree / "train" / "cow"
    shutil.rmtree(folder)
    folder.mkdir()
    kinds = {
        "rgb.JPG": fabricated.picture(1),
        "grey.jpeg": fabricated.picture(2, "L"),
        "cmyk.jpg": fabricated.picture(3, "CMYK"),
        "alpha.png": fabricated.picture(4, "RGBA", file_format="png"),
        "palette.png": fabricated.picture(5, "P", file_format="png"),
        "grey_alpha.PNG": fabricated.picture(6, "LA", file_format="png"),
        "photo.webp": fabricated.picture(7, file_format="webp"),
        "wide.webp": fabricated.picture(8, "RGBA", (300, 9), "webp"),
        "paint.bmp": fabricated.picture(9, file_format="bmp"),
    }
    for name, contents in kinds.items():
        (folder / name).write_bytes(contents)
    assert np.sum(_load(split_tree).train.labels == 1) == len(kinds)
    assert len(_load(split_tree, "streaming").train) == 8 + len(kinds)


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "THUMBS.DB"])
def test_what_file_managers_leave_behind_is_not_looked_at(split_tree, name):
    (split_tree / "train" / "bee" / name).write_text("no image")
    (split_tree / "train" / ".cache").mkdir()
    (split_tree / "README.txt").write_text("beside the classes")
    assert len(_load(split_tree).train) == 12


def test_a_set_is_known_by_its_files_wherever_it_lies(split_tree, tmp_path):
    """A fold of a cross-validation has the name of another, and other images."""
    found = _load(split_tree).fingerprint
    assert len(found) == 12
    elsewhere = tmp_path / "elsewhere" / "animals"
    shutil.copytree(split_tree, elsewhere)
    assert _load(elsewhere, "streaming", validation_fraction=0.25).fingerprint == found
    image = next((elsewhere / "test" / "bee").iterdir())
    image.rename(elsewhere / "train" / "bee" / image.name)
    assert _load(elsewhere).fingerprint != found


def test_a_stated_part_of_every_class_is_for_testing(one_tree):
    dataset = _load(one_tree, test_fraction=0.2)
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), [8, 8, 8])
    np.testing.assert_array_equal(np.bincount(dataset.test.labels), [2, 2, 2])
    both = {image.tobytes() for split in (dataset.train, dataset.test) for image in split.images}
    assert len(both) == 30


def test_the_part_does_not_depend_on_the_seed(one_tree):
    options = DataOptions(name="folder", data_dir=str(one_tree), image_size=16, test_fraction=0.3)
    first, second = (load_dataset(options, seed) for seed in (0, 1))
    np.testing.assert_array_equal(first.test.images, second.test.images)


@pytest.mark.parametrize("pipeline", ["resident", "streaming"])
def test_validation_and_subsets(split_tree, pipeline):
    dataset = _load(split_tree, pipeline, validation_fraction=0.25, train_examples=6)
    np.testing.assert_array_equal(np.bincount(dataset.validation.labels), [1, 1, 1])
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), [2, 2, 2])


def test_resident_and_streaming_hold_out_the_same(split_tree):
    options = {"validation_fraction": 0.25, "train_examples": 6}
    resident, streamed = (_load(split_tree, name, **options) for name in ("resident", "streaming"))
    files = sorted((split_tree / "train").glob("*/*"))
    for split in ("train", "validation"):
        indices = getattr(streamed, split).indices
        expected = np.stack([_expected(files[index], 16) for index in indices])
        np.testing.assert_array_equal(getattr(resident, split).images, expected)


def test_the_second_time_is_read_from_the_cache(split_tree, cache):
    first = _load(split_tree)
    assert len(os.listdir(cache)) == 2
    second = _load(split_tree)
    np.testing.assert_array_equal(first.train.images, second.train.images)
    assert len(os.listdir(cache)) == 2
    _load(split_tree, image_size=20)
    assert len(os.listdir(cache)) == 4


@pytest.mark.parametrize("pipeline", ["resident", "streaming"])
def test_a_file_that_changes_is_looked_at_again(split_tree, pipeline):
    _load(split_tree, pipeline)
    path = split_tree / "train" / "bee" / "0.jpeg"
    path.write_bytes(path.read_bytes()[:-100])
    assert _complaint(split_tree, pipeline).startswith(f"{path}: cannot be decoded (image file is")
    assert len(_load(split_tree, pipeline, skip_unreadable=True).train) == 11


@pytest.mark.parametrize("pipeline", ["resident", "streaming"])
@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "is empty"),
        (b"no image", "is no picture that can be read"),
        (fabricated.picture(0, size=(1, 1)), "is 1x1 pixels, at least 8x8 are needed"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_what_cannot_be_used_is_named(split_tree, cache, pipeline, contents, reason, split):
    path = split_tree / split / "cow" / "new.jpg"
    path.write_bytes(contents)
    assert _complaint(split_tree, pipeline) == f"{path}: {reason}{ADVICE}"
    # Of a split that cannot be used nothing is kept; what is kept of the other is whole.
    assert len(list(cache.glob("*"))) == 1


def _spoil(split_tree):
    """Four files that are no pictures, in both splits."""
    paths = [
        split_tree / split / name / "new.jpg" for split in ("test", "train") for name in CLASSES[:2]
    ]
    for path in paths:
        path.write_bytes(b"no image")
    return paths


@pytest.mark.parametrize("pipeline", ["resident", "streaming"])
def test_all_that_cannot_be_used_is_named_at_once(split_tree, cache, pipeline):
    spoilt = _spoil(split_tree)
    listed = cache.parent / "unusable" / "animals.txt"
    first, second, third, last = sorted(spoilt, key=lambda path: "test" in path.parts)
    reason = "is no picture that can be read"
    assert _complaint(split_tree, pipeline) == (
        f"config.data.data_dir: 4 things are wrong: {first}: {reason}; {second}: {reason}; "
        f"{third}: {reason}; and 1 more, all listed in {listed}"
        "; take them out, or leave them out with config.data.skip_unreadable=True"
    )
    assert listed.read_text().splitlines()[-1] == f"{last}: {reason}"
    assert len(listed.read_text().splitlines()) == 4


@pytest.mark.parametrize("pipeline", ["resident", "streaming"])
def test_what_cannot_be_used_can_be_left_out(split_tree, pipeline, caplog):
    expected = _load(split_tree, pipeline)
    _spoil(split_tree)
    (split_tree / "train" / "cow" / "labels.csv").touch()
    for _ in range(2):  # The second time from the cache.
        caplog.clear()
        dataset = _load(split_tree, pipeline, skip_unreadable=True)
        for split in ("train", "test"):
            found, before = getattr(dataset, split), getattr(expected, split)
            np.testing.assert_array_equal(found.labels, before.labels)
            if pipeline == "resident":
                np.testing.assert_array_equal(found.images, before.images)
        other, unreadable = caplog.messages
        path = split_tree / "train" / "cow" / "labels.csv"
        assert other.startswith(f"{split_tree}: 1 file is left out: {path}: is no .bmp")
        assert unreadable.startswith(f"{split_tree}: 4 files are left out: ")


def test_a_class_of_which_nothing_is_left_is_refused(split_tree):
    for path in (split_tree / "test" / "cow").iterdir():
        path.write_bytes(b"")
    assert _complaint(split_tree, skip_unreadable=True) == (
        "config.data.skip_unreadable: leaves no image of class cow for testing"
    )
    for path in (split_tree / "test" / "cow").iterdir():
        path.rename(path.with_suffix(".txt"))
    assert _complaint(split_tree, skip_unreadable=True) == (
        f"{split_tree / 'test' / 'cow'}: has no images"
    )


def test_other_files_among_the_images(split_tree):
    path = split_tree / "train" / "cow" / "labels.csv"
    path.touch()
    assert _complaint(split_tree) == f"{path}: is no .bmp, .jpg, .jpeg, .png, .webp file{ADVICE}"
    path.unlink()
    (split_tree / "train" / "cow" / "nested.jpg").mkdir()
    assert _complaint(split_tree).startswith(f"{split_tree / 'train' / 'cow' / 'nested.jpg'}: ")


@pytest.mark.parametrize(("there", "missing"), [("train", "test"), ("test", "train")])
def test_a_class_that_is_missing_on_one_side(split_tree, there, missing):
    shutil.rmtree(split_tree / missing / "cow")
    assert _complaint(split_tree) == (
        f"{split_tree / missing / 'cow'}: no such folder, but cow is in {there}"
    )


def test_a_class_without_images(split_tree):
    for path in (split_tree / "test" / "zebra").iterdir():
        path.unlink()
    assert _complaint(split_tree) == f"{split_tree / 'test' / 'zebra'}: has no images"


def test_no_test_folder(split_tree):
    shutil.rmtree(split_tree / "test")
    assert _complaint(split_tree) == (
        f"config.data.data_dir: no such folder: {split_tree / 'test'}, nor val, valid or validation"
    )


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_what_is_tested_on_may_be_called_otherwise(split_tree, name):
    expected = _load(split_tree).test
    (split_tree / "test").rename(split_tree / name)
    dataset = _load(split_tree)
    np.testing.assert_array_equal(dataset.test.images, expected.images)
    assert dataset.validation is None


def test_the_test_folder_counts_where_both_are_there(split_tree):
    shutil.copytree(split_tree / "train", split_tree / "val")
    assert len(_load(split_tree).test) == 6


def test_every_folder_that_is_wrong_is_named(split_tree):
    shutil.rmtree(split_tree / "test" / "cow")
    shutil.rmtree(split_tree / "train" / "bee")
    shutil.rmtree(split_tree / "test" / "zebra")
    (split_tree / "test" / "zebra").mkdir()
    assert _complaint(split_tree) == (
        f"config.data.data_dir: 3 things are wrong: "
        f"{split_tree / 'test' / 'cow'}: no such folder, but cow is in train; "
        f"{split_tree / 'train' / 'bee'}: no such folder, but bee is in test; "
        f"{split_tree / 'test' / 'zebra'}: has no images"
    )


def test_a_single_class(one_tree):
    for name in CLASSES[1:]:
        shutil.rmtree(one_tree / name)
    complaint = _complaint(one_tree, test_fraction=0.2)
    assert complaint == f"{one_tree}: has 1 class folders, at least 2 are needed"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"image_size": None}, "config.data.image_size: must be set for config.data.name=folder"),
        ({"test_fraction": 0.2}, "config.data.test_fraction: must not be set, for there is a "),
        (
            {"pipeline": "streaming", "crop": "padded"},
            "config.data.crop: takes resized when streaming, not padded",
        ),
    ],
)
def test_options_that_do_not_fit_a_split_tree(split_tree, options, complaint):
    assert _complaint(split_tree, **options).startswith(complaint)


def test_options_that_do_not_fit_one_tree(one_tree):
    assert _complaint(one_tree).startswith("config.data.test_fraction: must be set, for there is")
    assert _complaint(one_tree, test_fraction=0.01) == (
        "config.data.test_fraction: 0.01 leaves none of the 10 images of class bee for testing"
    )


def test_a_missing_folder(tmp_path):
    missing = tmp_path / "nowhere"
    assert _complaint(missing) == f"config.data.data_dir: no such folder: {missing}"
    with pytest.raises(ConfigError, match=r"^config\.data\.data_dir: must be set for"):
        load_dataset(DataOptions(name="folder"), 0)


def test_other_sets_have_their_own_test_images():
    with pytest.raises(ConfigError, match=r"^config\.data\.test_fraction: only for"):
        load_dataset(DataOptions(test_fraction=0.5), 0)
    with pytest.raises(ConfigError, match=r"^config\.data\.skip_unreadable: only for"):
        load_dataset(DataOptions(skip_unreadable=True), 0)
    with pytest.raises(ConfigError, match=r"^config\.data\.pipeline: digits are resident"):
        load_dataset(DataOptions(pipeline="streaming", crop="resized"), 0)
