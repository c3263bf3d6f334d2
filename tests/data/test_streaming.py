"""Streamed batches are those of a plain computation, however they are made."""

import os
import pickle
import signal
import subprocess
import sys
import time

import fabricated
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import HANGING

from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.data.pictures import crop, open_picture, random_box
from skdsam_jax.data.pipelines.photograph_crops import EvaluationViews, TrainingViews
from skdsam_jax.data.pipelines.resident import Resident, epoch_order, evaluation_order
from skdsam_jax.data.pipelines.streaming import Gathered, Streaming
from skdsam_jax.options import ConfigError

BATCH, SEED, SIDE = 8, 5, 12


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """21 training and 13 test images of many sizes."""
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
def dataset(root):
    options = DataOptions(
        name="folder", data_dir=str(root), image_size=SIDE, pipeline="streaming", crop="resized"
    )
    return load_dataset(options, SEED)


@pytest.fixture
def views(dataset):
    return TrainingViews(dataset.train, BATCH, SEED)


def _one_device():
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def _stream(views, workers=0, sharding=None):
    return Streaming(views, sharding or _one_device(), workers)


def _arrays(batches):
    return [(np.asarray(batch.images.rows), np.asarray(batch.labels.rows)) for batch in batches]


def _assert_equal(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def _direct(views, epoch):
    """An epoch's batches, made one image at a time and without Grain."""
    batches = []
    for step in range(views.steps):
        indices = views.indices(epoch, step)
        made = [views.make(epoch, indices[place : place + 1]) for place in range(len(indices))]
        batches.append(tuple(np.concatenate(parts) for parts in zip(*made, strict=True)))
    return batches


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_workers_makes_the_same_batches(views, workers):
    expected = [batch for epoch in range(3) for batch in _direct(views, epoch)]
    stream = _stream(views, workers)
    try:
        found = [batch for epoch in range(3) for batch in _arrays(stream.batches(epoch))]
    finally:
        stream.close()
    _assert_equal(found, expected)


def test_a_run_that_goes_on_sees_what_the_other_saw(views):
    whole, later = _stream(views), _stream(views)
    expected = _arrays(whole.batches(0)) + _arrays(whole.batches(1))
    _assert_equal(_arrays(later.batches(0, 1)) + _arrays(later.batches(1)), expected[1:])
    # And back again, from anywhere.
    _assert_equal(_arrays(later.batches(1, 1)), expected[3:])
    whole.close()
    later.close()


def test_the_order_is_that_of_resident_data(views, dataset):
    for epoch in range(2):
        order = np.asarray(epoch_order(SEED, epoch, len(dataset.train), BATCH))
        for step, indices in enumerate(order):
            np.testing.assert_array_equal(views.indices(epoch, step), indices)
            _, labels = _arrays(_stream(views).batches(epoch, step))[0]
            np.testing.assert_array_equal(labels, dataset.train.labels[indices])


def test_crops_depend_on_seed_epoch_and_example_alone(dataset, views):
    indices = np.arange(6, dtype=np.int32)
    first, _ = views.make(3, indices)
    again, _ = views.make(3, indices[::-1])
    np.testing.assert_array_equal(first, again[::-1])
    other_epoch, _ = views.make(4, indices)
    other_seed, _ = TrainingViews(dataset.train, BATCH, SEED + 1).make(3, indices)
    for other in (other_epoch, other_seed):
        assert all(np.any(a != b) for a, b in zip(first, other, strict=True))


def test_a_subset_streams_its_own_examples(dataset):
    chosen = np.array([4, 7, 15, 20])
    views, whole = (
        TrainingViews(split, 4, SEED) for split in (dataset.train.take(chosen), dataset.train)
    )
    _, labels = views.make(0, np.arange(4, dtype=np.int32))
    np.testing.assert_array_equal(labels, dataset.train.labels[chosen])
    evaluated = EvaluationViews(views.split, 4).make(0, np.arange(4))[0]
    np.testing.assert_array_equal(evaluated, EvaluationViews(whole.split, 4).make(0, chosen)[0])


@pytest.mark.parametrize("batch_size", [4, 13, 20])
def test_evaluation_sees_every_central_square_once(dataset, root, batch_size):
    stream = _stream(EvaluationViews(dataset.test, batch_size))
    indices, mask = evaluation_order(13, batch_size)
    for _ in range(2):
        found = _arrays(stream.batches(0))
        assert len(found) == len(indices)
        images = np.concatenate([images for images, _ in found])[mask.ravel()]
        labels = np.concatenate([labels for _, labels in found])[mask.ravel()]
        np.testing.assert_array_equal(labels, np.repeat([0, 1], [6, 7]))
        for image, path in zip(images, sorted((root / "test").glob("*/*")), strict=True):
            picture = open_picture(path.read_bytes())
            width, height = picture.size
            side = round(min(width, height) * 224 / 256)
            left, upper = (width - side) // 2, (height - side) // 2
            expected = crop(picture, (left, upper, left + side, upper + side), SIDE)
            np.testing.assert_array_equal(image, expected)
    stream.close()


def test_resized_to_256_and_cut_to_224():
    """The two steps of the usual recipe, in one."""
    picture = open_picture(fabricated.picture(1, size=(640, 512), file_format="png"))
    small = picture.convert("RGB").resize((320, 256), 2).crop((48, 16, 272, 240))
    image = crop(picture, (96, 32, 544, 480), 224).astype(int)
    difference = np.abs(image - np.asarray(small))
    # The border differs: a crop that comes first looks at no pixel outside of it.
    assert difference[2:-2, 2:-2].max() <= 1


def test_one_and_eight_devices_hold_the_same_batch(views):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
    streams = _stream(views), _stream(views, sharding=sharding)
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


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_is_damaged_later_is_named(dataset, views, workers, tmp_path):
    copy = tmp_path / "damaged.jpg"
    copy.write_bytes(dataset.train.records.files[0].read_bytes()[:-100])
    records = pickle.loads(pickle.dumps(dataset.train.records))
    records.files = (*records.files[:5], copy, *records.files[6:])
    stream = _stream(TrainingViews(type(dataset.train)(records, SIDE), 21, SEED), workers)
    with pytest.raises(ConfigError) as error:
        list(stream.batches(0))
    stream.close()
    assert str(error.value).startswith(f"{copy}: cannot be decoded (image file is truncated")


SCRIPT = """
import multiprocessing, os, sys, time
import jax
from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.data.pipelines.photograph_crops import TrainingViews
from skdsam_jax.data.pipelines.streaming import Streaming

if __name__ == "__main__":
    options = DataOptions(
        name="folder", data_dir=sys.argv[1], image_size=12, pipeline="streaming", crop="resized"
    )
    views = TrainingViews(load_dataset(options, 0).train, 8, 0)
    stream = Streaming(views, jax.sharding.SingleDeviceSharding(jax.devices()[0]), 2)
    list(stream.batches(0))
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    {end}
"""


def _start(root, tmp_path, end):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.replace("{end}", end))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(path), str(root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    workers = [int(number) for number in process.stdout.readline().split()]
    assert len(workers) == 2
    return process, workers


def _gone(workers):
    end = time.monotonic() + HANGING
    while any(os.path.exists(f"/proc/{number}") for number in workers):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.skipif(not os.path.exists("/proc"), reason="looks for processes in /proc")
def test_workers_end_when_training_is_killed(root, tmp_path):
    process, workers = _start(root, tmp_path, f"time.sleep({HANGING})")
    process.kill()
    process.communicate(timeout=HANGING)
    assert _gone(workers)


@pytest.mark.skipif(not os.path.exists("/proc"), reason="looks for processes in /proc")
def test_workers_leave_signals_to_training_and_end_with_it(root, tmp_path):
    end = "[None for epoch in range(1, 40) for _ in stream.batches(epoch)]; stream.close()"
    process, workers = _start(root, tmp_path, end)
    for number in workers:
        os.kill(number, signal.SIGINT)
        os.kill(number, signal.SIGTERM)
    assert process.communicate(timeout=HANGING) == ("", "")
    assert process.returncode == 0
    assert _gone(workers)
