"""Examples are the images that a run's own evaluation sees, wherever they come from."""

import numpy as np
import pytest

from skdsam_jax.data import EncodedSplit, Split
from skdsam_jax.data.pipelines.photograph_crops import central_crops
from skdsam_jax.data.sources.folder import FolderRecords
from skdsam_jax.evaluation import examples as examples_module
from skdsam_jax.evaluation.examples import Examples, check_class_names, examples_of
from skdsam_jax.evaluation.mistakes import worst_mistakes
from skdsam_jax.options import ConfigError


def test_photographs_are_cropped_as_in_streaming(pictures):
    files = sorted(pictures.glob("*/*"))
    records = FolderRecords(files, [int(path.parent.name) for path in files])
    split = EncodedSplit(records, 12).take(np.arange(3, 20))
    examples = examples_of(split, 12)
    images, labels = central_crops(split, np.arange(len(split)))
    np.testing.assert_array_equal(np.concatenate(list(examples.batches(5))), images)
    np.testing.assert_array_equal(examples.labels, labels)
    names = ["/".join(path.parts[-2:]) for path in files[3:20]]
    assert [examples.file(index) for index in range(len(examples))] == names
    resident = Split(images, labels, tuple(files[3:20])).take(np.array([4, 2])).resized(8)
    assert [examples_of(resident, 8).file(index) for index in range(2)] == [names[4], names[2]]


def test_resident_images_are_shrunk_where_needed(test_split):
    side = test_split.image_shape[0]
    np.testing.assert_array_equal(
        examples_of(test_split.take(np.arange(3)), side).sample(3), test_split.images[:3]
    )
    smaller = examples_of(test_split.take(np.arange(3)), side // 2).sample(3)
    np.testing.assert_array_equal(smaller, test_split.resized(side // 2).images[:3])


def test_batches_and_samples(monkeypatch):
    levels = np.arange(10, dtype=np.uint8)
    examples = Examples(levels.astype(np.int32), lambda index: levels[index].reshape(1, 1, 1))
    assert [batch.ravel().tolist() for batch in examples.batches(4)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    assert examples.sample(4).ravel().tolist() == [0, 3, 6, 9]
    assert len(examples.sample(99)) == 10
    monkeypatch.setattr(examples_module, "_MOST_BYTES", 2)
    assert examples.sample(4).ravel().tolist() == [0, 9]
    changed = examples.changed(lambda image, index: image + np.uint8(index))
    assert changed.sample(10).ravel().tolist() == (2 * levels)[[0, 9]].tolist()


def test_classes_that_differ_are_named():
    check_class_names(["b", "a"], ["a", "b"], "here")
    with pytest.raises(ConfigError, match=r"it lacks c$"):
        check_class_names(["a"], ["a", "c"], "here")
    with pytest.raises(ConfigError, match=r"it has d, e, f and 1 more, which the network does not"):
        check_class_names(["a", "d", "e", "f", "g"], ["a"], "here")


def test_the_surest_mistakes_come_first():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    labels = np.array([0, 0, 0, 0, 1], np.int32)
    examples = Examples(labels, lambda index: index, "{}.png".format)
    found = worst_mistakes(np.log(probabilities), examples, ["a", "b"])
    assert [mistake["index"] for mistake in found] == [3, 4, 1, 2]
    assert found[1] == {
        "index": 4,
        "true_class": "b",
        "predicted_class": "a",
        "confidence": pytest.approx(0.7),
        "file": "4.png",
        "thumbnail": "mistakes/02.png",
    }
