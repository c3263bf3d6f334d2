"""Sets that come with TFDS, prepared here with a few photographs and the same features."""

import io
import pickle

import fabricated
import numpy as np
import pytest
import tensorflow_datasets as tfds

from skdsam_jax.data import DATASETS, DataOptions, EncodedSplit, load_dataset
from skdsam_jax.data.sources.photographs import MEAN, STD
from skdsam_jax.options import ConfigError

SIZES = {"train": 9, "test": 6}


class _Photographs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Features as those of caltech_birds2011: no names of classes, and a second picture."""

    VERSION = tfds.core.Version("0.1.1")
    TEST = "test"

    def _info(self):
        features = {
            "bbox": tfds.features.BBoxFeature(),
            "image": tfds.features.Image(),
            "label": tfds.features.ClassLabel(num_classes=3),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples("train"),
            self.TEST: self._generate_examples("test"),
        }

    def _generate_examples(self, split):
        for index, encoded in enumerate(_pictures(split)):
            yield (
                index,
                {
                    "bbox": tfds.features.BBox(0.0, 0.0, 1.0, 1.0),
                    "image": io.BytesIO(encoded),
                    "label": index % 3,
                    "segmentation_mask": io.BytesIO(b"never decoded"),
                },
            )


class CaltechBirds2011(_Photographs, skip_registration=True):
    """Two hundred birds."""


class Imagenet2012(_Photographs, skip_registration=True):
    """Tested on its validation split."""

    TEST = "validation"


def _pictures(split):
    return [
        fabricated.picture(len(split) * 100 + index, size=(20 + index, 30))
        for index in range(SIZES[split])
    ]


@pytest.fixture
def data_dir(tmp_path):
    for cls in (CaltechBirds2011, Imagenet2012):
        builder = cls(data_dir=tmp_path / "data")
        builder.download_and_prepare(file_format="array_record")
    return str(tmp_path / "data")


def _stream(data_dir, name="imagenet2012", **options):
    options = {"pipeline": "streaming", "crop": "resized"} | options
    return load_dataset(DataOptions(name=name, data_dir=data_dir, **options), 0)


def test_photographs_share_imagenets_statistics():
    for name in (
        "caltech_birds2010",
        "caltech_birds2011",
        "stanford_dogs",
        "stanford40_actions",
        "mit_indoor67",
        "imagenet2012",
    ):
        assert (DATASETS[name].name, DATASETS[name].mean, DATASETS[name].std) == (name, MEAN, STD)


def test_resident_photographs_are_cut_square(data_dir):
    options = DataOptions(name="caltech_birds2011", data_dir=data_dir, image_size=16)
    dataset = load_dataset(options, 0)
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train.images.shape == (9, 16, 16, 3)
    assert dataset.test.images.shape == (6, 16, 16, 3)
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), [3, 3, 3])


def test_a_streamed_split_reads_every_picture(data_dir):
    dataset = _stream(data_dir)
    assert dataset.image_shape == (224, 224, 3)
    for split in ("train", "test"):
        found = getattr(dataset, split)
        assert isinstance(found, EncodedSplit)
        assert len(found) == SIZES[split]
        examples = [found.records.read(index) for index in range(len(found))]
        expected = {encoded: index % 3 for index, encoded in enumerate(_pictures(split))}
        assert dict(examples) == expected
        np.testing.assert_array_equal(found.labels, [label for _, label in examples])


def test_the_labels_are_read_once(data_dir, cache):
    first = _stream(data_dir, validation_fraction=0.34)
    (entry,) = cache.iterdir()
    written = entry.stat().st_mtime_ns
    second = _stream(data_dir, validation_fraction=0.34)
    assert entry.stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.validation.labels, [0, 1, 2])
    np.testing.assert_array_equal(first.train.indices, second.train.indices)


def test_records_go_to_other_processes_without_what_they_opened(data_dir):
    records = _stream(data_dir).train.records
    first = records.read(0)
    pickled = pickle.dumps(records)
    assert len(pickled) < 500
    assert pickle.loads(pickled).read(0) == first


def test_imagenet_is_never_resident(data_dir):
    with pytest.raises(ConfigError) as error:
        load_dataset(DataOptions(name="imagenet2012", data_dir=data_dir, image_size=16), 0)
    assert str(error.value) == (
        "config.data.pipeline: imagenet2012 is too large to be resident; takes streaming for it"
    )


def test_a_split_that_is_missing(data_dir, monkeypatch):
    monkeypatch.setattr(Imagenet2012, "name", "stanford_dogs")
    Imagenet2012(data_dir=data_dir).download_and_prepare(file_format="array_record")
    with pytest.raises(ConfigError, match="has no split test, but train, validation"):
        _stream(data_dir, "stanford_dogs")


def test_a_picture_that_is_damaged_is_named(data_dir, monkeypatch):
    monkeypatch.setattr(CaltechBirds2011, "name", "caltech_birds2010")
    pictures = {split: [b"no picture"] * 3 for split in SIZES}
    monkeypatch.setitem(globals(), "_pictures", pictures.get)
    builder = CaltechBirds2011(data_dir=data_dir)
    builder.download_and_prepare(file_format="array_record")
    options = DataOptions(name="caltech_birds2010", data_dir=data_dir, image_size=16)
    with pytest.raises(ConfigError) as error:
        load_dataset(options, 0)
    assert str(error.value) == (
        f"{builder.data_dir}: example 0 of split train is no picture that can be read"
    )
