"""Streamed batches are those of a plain computation, however they are made."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax.data import DataOptions
from skdsam_jax.data.augmentation.distort import Look
from skdsam_jax.data.pictures import crop, open_picture
from skdsam_jax.data.pipelines.keys import moment_of
from skdsam_jax.data.pipelines.order import ReadingOrder, evaluation_order
from skdsam_jax.data.pipelines.photograph_crops import CentralCrops, RandomCrops
from skdsam_jax.data.pipelines.resident import Resident, training_batch
from skdsam_jax.data.pipelines.streaming import Gathered, Streaming
from skdsam_jax.options import ConfigError
from skdsam_jax.reads import once, twice, with_companions, with_previous

BATCH, SEED, SIDE = 8, 5, 12

COMPANIONS = with_companions(2, include_self=False)


def _crops(photographs, reads=once):
    labels = photographs.train.labels if reads.needs_labels else None
    return RandomCrops(
        photographs.train, ReadingOrder(SEED, len(photographs.train), BATCH, reads, labels)
    )


@pytest.fixture
def crops(photographs):
    return _crops(photographs)


def _one_device():
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def _stream(crops, workers=0, sharding=None):
    return Streaming(crops, sharding or _one_device(), workers)


def _arrays(batches):
    return [(np.asarray(batch.images.rows), np.asarray(batch.labels.rows)) for batch in batches]


def _assert_equal(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def _direct(crops, epoch):
    """An epoch's batches, made one image at a time and without Grain."""
    batches = []
    for step in range(crops.steps):
        places = np.arange(crops.batch_size)
        made = [crops.make(epoch, step, places[place : place + 1]) for place in places]
        batches.append(tuple(np.concatenate(parts) for parts in zip(*made, strict=True)))
    return batches


@pytest.mark.parametrize(
    ("workers", "reads"),
    [(0, once), (0, with_previous), (1, COMPANIONS), (3, twice)],
    ids=["0-once", "0-previous", "1-companions", "3-twice"],
)
def test_any_number_of_workers_makes_the_same_batches(photographs, workers, reads):
    crops = _crops(photographs, reads)
    expected = [batch for epoch in range(3) for batch in _direct(crops, epoch)]
    stream = _stream(crops, workers)
    try:
        found = [batch for epoch in range(3) for batch in _arrays(stream.batches(epoch))]
    finally:
        stream.close()
    _assert_equal(found, expected)


def test_a_run_that_goes_on_sees_what_the_other_saw(crops):
    whole, later = _stream(crops), _stream(crops)
    expected = _arrays(whole.batches(0)) + _arrays(whole.batches(1))
    _assert_equal(_arrays(later.batches(0, 1)) + _arrays(later.batches(1)), expected[1:])
    # And back again, from anywhere.
    _assert_equal(_arrays(later.batches(1, 1)), expected[3:])
    whole.close()
    later.close()


@pytest.mark.parametrize("reads", [once, twice, with_previous, COMPANIONS], ids=repr)
def test_the_order_is_that_of_resident_data(photographs, reads):
    crops = _crops(photographs, reads)
    for epoch in range(2):
        for step, rows in enumerate(np.asarray(crops.order.epoch(epoch))):
            np.testing.assert_array_equal(crops.indices(epoch, step), rows.reshape(-1))
            _, labels = crops.make(epoch, step, np.arange(rows.size))
            np.testing.assert_array_equal(labels, photographs.train.labels[rows.reshape(-1)])


def test_the_step_takes_a_streamed_batch_like_resident_data(photographs):
    crops = _crops(photographs, twice)
    stream = _stream(crops)
    data = next(stream.batches(1))
    stream.close()
    rows = crops.order.epoch(1)[0]
    options = DataOptions(pipeline="streaming", crop="resized", flip=False)
    moment = moment_of(SEED, 2, steps_per_epoch=2, epochs=3)
    look = Look((SIDE, SIDE), (0.0,) * 3, (1 / 255,) * 3, 2)
    batch = training_batch(data, rows, moment, seed=SEED, options=options, look=look, cropped=True)
    images, labels = _direct(crops, 1)[0]
    np.testing.assert_array_equal(jnp.rint(batch.images), images)
    np.testing.assert_array_equal(batch.labels, labels)
    np.testing.assert_array_equal(batch.indices, rows.reshape(-1))


@pytest.mark.parametrize("batch_size", [4, 13, 20])
def test_evaluation_sees_every_central_square_once(photographs, animals, batch_size):
    stream = _stream(CentralCrops(photographs.test, batch_size))
    indices, mask = evaluation_order(13, batch_size)
    for _ in range(2):
        found = _arrays(stream.batches(0))
        assert len(found) == len(indices)
        images = np.concatenate([images for images, _ in found])[mask.ravel()]
        labels = np.concatenate([labels for _, labels in found])[mask.ravel()]
        np.testing.assert_array_equal(labels, np.repeat([0, 1], [6, 7]))
        for image, path in zip(images, sorted((animals / "test").glob("*/*")), strict=True):
            picture = open_picture(path.read_bytes())
            width, height = picture.size
            side = round(min(width, height) * 224 / 256)
            left, upper = (width - side) // 2, (height - side) // 2
            expected = crop(picture, (left, upper, left + side, upper + side), SIDE)
            np.testing.assert_array_equal(image, expected)
    stream.close()


def test_one_and_eight_devices_hold_the_same_batch(crops):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
    streams = _stream(crops), _stream(crops, sharding=sharding)
    one, eight = (list(stream.batches(0)) for stream in streams)
    _assert_equal(_arrays(eight), _arrays(one))
    for batch in eight:
        assert batch.images.rows.sharding.is_equivalent_to(sharding, 4)
        assert batch.images.rows.addressable_shards[3].data.shape == (1, SIDE, SIDE, 3)
    for stream in streams:
        stream.close()


def test_gathered_rows_are_not_gathered_again():
    rows = Gathered(jax.numpy.arange(6))
    assert len(rows) == 6
    compiled = jax.jit(lambda data, indices: data.images[indices] + data.labels[indices])
    batch = Resident(rows, rows)
    np.testing.assert_array_equal(compiled(batch, jax.numpy.zeros(6, int)), 2 * np.arange(6))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_is_damaged_later_is_named(photographs, workers, tmp_path):
    copy = tmp_path / "damaged.jpg"
    copy.write_bytes(photographs.train.records.files[0].read_bytes()[:-100])
    records = pickle.loads(pickle.dumps(photographs.train.records))
    records.files = (*records.files[:5], copy, *records.files[6:])
    crops = RandomCrops(type(photographs.train)(records, SIDE), ReadingOrder(SEED, 21, 21))
    stream = _stream(crops, workers)
    with pytest.raises(ConfigError) as error:
        list(stream.batches(0))
    stream.close()
    assert str(error.value).startswith(f"{copy}: cannot be decoded (image file is truncated")
