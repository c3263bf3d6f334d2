"""What is cut out of each photograph, and what decides it."""

import dataclasses

import fabricated
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skdsam_jax.data.pictures import crop, open_picture, random_box
from skdsam_jax.data.pipelines.order import ReadingOrder
from skdsam_jax.data.pipelines.photograph_crops import (
    CentralCrops,
    RandomCrops,
    central_crops,
    random_crops,
)
from skdsam_jax.reads import twice

BATCH, SEED = 8, 5


class Counted:
    """Records that know which of them were read."""

    def __init__(self, records):
        self._records, self.labels, self.read_ones = records, records.labels, []

    def __len__(self):
        return len(self._records)

    def read(self, index):
        self.read_ones.append(index)
        return self._records.read(index)


def _made(split, places, seed=SEED, epoch=3, step=1):
    """One photograph at each of some places."""
    indices = np.full(len(places), 4)
    return random_crops(split, indices, np.asarray(places), seed=seed, epoch=epoch, step=step)[0]


def test_crops_depend_on_seed_epoch_step_and_place_alone(photographs):
    split = photographs.train
    places = np.arange(6)
    first = _made(split, places)
    np.testing.assert_array_equal(first, _made(split, places[::-1])[::-1])
    np.testing.assert_array_equal(first[2:4], _made(split, [2, 3]))
    others = [_made(split, places, **{name: 2}) for name in ("seed", "epoch", "step")]
    for other in (*others, np.roll(first, 1, axis=0)):
        assert all(np.any(a != b) for a, b in zip(first, other, strict=True))


def test_two_reads_of_a_photograph_are_two_crops(photographs):
    split = photographs.train
    crops = RandomCrops(split, ReadingOrder(SEED, len(split), BATCH, twice))
    assert crops.batch_size == 2 * BATCH
    indices = crops.indices(0, 1)
    np.testing.assert_array_equal(indices[::2], indices[1::2])
    images, labels = crops.make(0, 1, np.arange(2 * BATCH))
    np.testing.assert_array_equal(labels, split.labels[indices])
    for first, second in zip(images[::2], images[1::2], strict=True):
        assert np.any(first != second)


def test_a_subset_streams_its_own_examples(photographs):
    chosen = np.array([4, 7, 15, 20])
    subset = photographs.train.take(chosen)
    images, labels = central_crops(subset, np.arange(4))
    expected, expected_labels = central_crops(photographs.train, chosen)
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_array_equal(labels, photographs.train.labels[chosen])
    order = ReadingOrder(SEED, 4, 4)
    _, labels = RandomCrops(subset, order).make(0, 0, np.arange(4))
    np.testing.assert_array_equal(labels, subset.labels[order.epoch(0)[0, :, 0]])


def test_the_padding_of_an_evaluated_batch_is_decoded_once(photographs):
    counted = Counted(photographs.test.records)
    crops = CentralCrops(dataclasses.replace(photographs.test, records=counted), 8)
    images, labels = crops.make(0, 1, np.arange(8))
    # Examples 8 to 12, and the first one three times.
    assert sorted(counted.read_ones) == [0, 8, 9, 10, 11, 12]
    expected = central_crops(photographs.test, np.array([8, 9, 10, 11, 12]))
    first = central_crops(photographs.test, np.array([0]))
    for found, others, padding in zip((images, labels), expected, first, strict=True):
        np.testing.assert_array_equal(found, np.concatenate([others, *[padding] * 3]))


def test_each_example_of_a_training_batch_is_decoded_for_itself(photographs):
    counted = Counted(photographs.train.records)
    split = dataclasses.replace(photographs.train, records=counted)
    RandomCrops(split, ReadingOrder(SEED, 21, 3, twice)).make(0, 0, np.arange(6))
    assert len(counted.read_ones) == 6


def test_resized_to_256_and_cut_to_224():
    """The two steps of the usual recipe, in one."""
    picture = open_picture(fabricated.picture(1, size=(640, 512), file_format="png"))
    small = picture.convert("RGB").resize((320, 256), 2).crop((48, 16, 272, 240))
    image = crop(picture, (96, 32, 544, 480), 224).astype(int)
    difference = np.abs(image - np.asarray(small))
    # The border differs: a crop that comes first looks at no pixel outside of it.
    assert difference[2:-2, 2:-2].max() <= 1


UNIFORMS = st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4)


@settings(deadline=None)
@given(
    width=st.integers(8, 500), height=st.integers(8, 500), uniforms=st.lists(UNIFORMS, max_size=3)
)
def test_a_random_box_lies_in_the_picture(width, height, uniforms):
    left, upper, right, lower = random_box((width, height), np.array(uniforms).reshape(-1, 4))
    assert 0 <= left < right <= width
    assert 0 <= upper < lower <= height
    ratio = (right - left) / (lower - upper)
    # Sides are rounded to whole pixels.
    assert (right - left - 1) / (lower - upper + 1) < 4 / 3 + 0.01
    assert (right - left + 1) / max(lower - upper - 1, 1) > 3 / 4 - 0.01, ratio


def test_random_boxes_have_the_distribution_of_their_recipe():
    uniforms = np.random.default_rng(0).random((4000, 10, 4))
    boxes = np.array([random_box((1000, 1000), drawn) for drawn in uniforms])
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    shares, ratios = wide * high / 1e6, np.log(wide / high)
    assert abs(ratios.mean()) < 0.02
    assert abs(ratios).max() < np.log(4 / 3) + 0.01
    assert 0.075 < shares.min() < 0.1
    # Areas are uniform on [0.08, 1] as far as a box of that area always fits, up to 3/4.
    counts, _ = np.histogram(shares, np.linspace(0.08, 0.74, 7))
    expected = 4000 * 0.11 / 0.92
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))
    places = boxes[:, 0] / np.maximum(1000 - wide, 1)
    assert abs(places.mean() - 0.5) < 5 / np.sqrt(12 * 4000)


def test_no_attempt_fits():
    assert random_box((100, 10), np.zeros((0, 4))) == (43, 0, 56, 10)
    assert random_box((10, 100), np.zeros((0, 4))) == (0, 43, 10, 56)
