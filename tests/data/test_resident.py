"""Batches of resident data: what they hold, what decides them, and on how many devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax.batch import Batch
from skdsam_jax.data import DataOptions, Split
from skdsam_jax.data.augmentation.distort import Look
from skdsam_jax.data.pipelines.keys import moment_of
from skdsam_jax.data.pipelines.order import ReadingOrder, evaluation_order
from skdsam_jax.data.pipelines.resident import evaluation_batch, place, training_batch
from skdsam_jax.reads import twice

LOOK = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}


def _split(examples=60, side=8):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (examples, side, side, 3), np.uint8)
    return Split(images, generator.integers(0, 10, examples, np.int32))


def _normalized(images):
    return (images.astype(np.float64) / 255 - LOOK["mean"]) / LOOK["std"]


def _batch(data, rows, seed=0, epoch=0, step=0, dtype=jnp.float32, **options):
    return training_batch(
        data,
        rows,
        moment_of(seed, 4 * epoch + step, steps_per_epoch=4, epochs=3),
        seed=seed,
        options=DataOptions(**{"crop_padding": 2, **options}),
        look=_look(data, dtype),
    )


def _look(data, dtype=jnp.float32):
    return Look(data.images.image_shape[:2], **LOOK, num_classes=10, dtype=dtype)


def _rows(count):
    """The first examples, each alone."""
    return jnp.arange(count, dtype=jnp.int32)[:, None]


# Everything that a batch may go through.
EVERYTHING = [
    {},
    {"crop": "resized", "autoaugment": True, "cutout": "black"},
    {"cutout": "mean", "mixup_alpha": 0.2},
    {"cutmix_alpha": 1.0},
]
MIXED = {"mixup_alpha", "cutmix_alpha"}
everything = pytest.mark.parametrize(
    "options", EVERYTHING, ids=lambda options: " ".join(options) or "crop and flip"
)


def test_an_evaluation_batch_is_normalised_and_not_distorted():
    split = _split()
    indices, mask = evaluation_order(len(split), 16)
    data = place(split)
    batch = evaluation_batch(data, jnp.asarray(indices[-1]), _look(data))
    assert isinstance(batch, Batch)
    assert batch.images.dtype == jnp.float32
    expected = _normalized(split.images[indices[-1]])
    np.testing.assert_allclose(batch.images, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(batch.labels, split.labels[indices[-1]])
    assert mask[-1].sum() == 60 - 48
    assert batch.moment is None


def test_a_training_batch_without_augmentation():
    split = _split()
    indices = jnp.array([5, 3, 59, 0], jnp.int32)
    batch = _batch(place(split), indices[:, None], crop_padding=0, flip=False, step=2)
    expected = _normalized(split.images[np.asarray(indices)])
    np.testing.assert_allclose(batch.images, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(batch.labels, split.labels[np.asarray(indices)])
    np.testing.assert_array_equal(batch.indices, indices)
    assert (batch.moment.step, batch.moment.epochs) == (2, 3)


def test_reads_stand_side_by_side_and_are_distorted_each_by_itself():
    split = _split()
    rows = jnp.array([[5, 3], [59, 0], [7, 7]], jnp.int32)
    data = place(split)
    plain = _batch(data, rows, crop_padding=0, flip=False)
    np.testing.assert_array_equal(plain.indices, [5, 3, 59, 0, 7, 7])
    np.testing.assert_array_equal(plain.labels, split.labels[[5, 3, 59, 0, 7, 7]])
    distorted = _batch(data, rows)
    # What the batch of six examples alone would become.
    alone = _batch(data, rows.reshape(-1, 1))
    np.testing.assert_array_equal(distorted.images, alone.images)
    assert np.any(distorted.images[4] != distorted.images[5])


@pytest.mark.parametrize("mixing", ["mixup_alpha", "cutmix_alpha"])
def test_all_reads_of_an_anchor_are_mixed_with_those_of_one_partner(mixing):
    """Each example twice, undistorted: both reads must then become the same mixture."""
    data, order = place(_split()), ReadingOrder(0, 60, 12, twice).epoch(0)[0]
    batch = _batch(data, order, crop_padding=0, flip=False, **{mixing: 1.0})
    np.testing.assert_array_equal(batch.images[::2], batch.images[1::2])
    np.testing.assert_array_equal(batch.labels[::2], batch.labels[1::2])
    assert batch.labels.shape == (24, 10)
    assert np.any((batch.labels > 0) & (batch.labels < 1))


def test_every_training_image_is_some_crop_or_its_mirror():
    """Looks for each image among all that it may have become: the padding is black."""
    split, padding = _split(side=6), 2
    indices = np.arange(24)
    batch = _batch(place(split), _rows(24), crop_padding=padding)
    mirrors = 0
    for image, index in zip(np.asarray(batch.images), indices, strict=True):
        padded = np.pad(split.images[index], ((padding, padding), (padding, padding), (0, 0)))
        crops = [padded[r : r + 6, c : c + 6] for r in range(5) for c in range(5)]
        plain, mirrored = (
            any(np.allclose(image, _normalized(crop), atol=1e-5) for crop in found)
            for found in (crops, [crop[:, ::-1] for crop in crops])
        )
        assert plain != mirrored
        mirrors += mirrored
    assert 0 < mirrors < 24


@pytest.mark.parametrize("changed", ["seed", "epoch", "step"])
def test_a_batch_depends_on_seed_epoch_and_step(changed):
    data, rows = place(_split()), _rows(16)
    first, again = _batch(data, rows), _batch(data, rows)
    np.testing.assert_array_equal(first.images, again.images)
    assert np.any(first.images != _batch(data, rows, **{changed: 1}).images)


def test_crops_and_flips_are_independent():
    """With one key for both, an image's offset would tell whether it is mirrored."""
    side = 9
    columns = np.broadcast_to(
        np.arange(1, side + 1, dtype=np.uint8).reshape(1, 1, side, 1), (4000, side, side, 3)
    )
    data = place(Split(columns, np.zeros(4000, np.int32)))
    batch = _batch(data, _rows(4000))
    pixels = np.rint((np.asarray(batch.images) * LOOK["std"] + LOOK["mean"]) * 255)[:, 4, :, 0]
    mirrored = pixels[:, 3] > pixels[:, 5]
    offsets = pixels[:, 4] - 3
    table = np.zeros((2, 5))
    np.add.at(table, (mirrored.astype(int), offsets.astype(int)), 1)
    # Each of ten cells: binomial with mean 400 and deviation 19.
    assert np.all(np.abs(table - 400) < 5 * 19)


@pytest.mark.parametrize(
    "options",
    [pytest.param(o, marks=pytest.mark.slow if o in EVERYTHING[1:3] else ()) for o in EVERYTHING],
    ids=lambda options: " ".join(options) or "crop and flip",
)
def test_one_and_eight_devices_make_the_same_batch(options):
    split = _split()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    by_batch = jax.sharding.NamedSharding(mesh, jax.P("data"))
    function = jax.jit(
        lambda data, rows, epoch, step: _batch(data, rows, 3, epoch, step, **options)
    )
    rows = ReadingOrder(3, 60, 32, twice).epoch(1)[0]
    one = function(place(split), rows, 1, 2)
    data = place(split, jax.sharding.NamedSharding(mesh, jax.P()))
    arguments = (data, jax.device_put(rows, by_batch), 1, 2)
    with jax.set_mesh(mesh):
        eight = function(*arguments)
        compiled = function.lower(*arguments).compile().as_text()
    assert eight.images.sharding.is_equivalent_to(by_batch, 4)
    for ours, theirs in zip(one[:3], eight[:3], strict=True):
        if MIXED & {*options}:
            # The two programs round sums of products differently.
            np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    # Each device makes its part without hearing of the others, unless images are mixed.
    if not MIXED & {*options}:
        for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
            assert f"{collective}(" not in compiled


def test_traced_epoch_and_step_are_compiled_once_and_change_nothing():
    data, rows = place(_split()), _rows(16)
    function = jax.jit(lambda epoch, step: _batch(data, rows, 5, epoch, step))
    for epoch, step in ((0, 0), (0, 3), (2, 1)):
        eager = _batch(data, rows, 5, epoch, step).images
        np.testing.assert_allclose(function(epoch, step).images, eager, rtol=1e-6, atol=1e-6)
    assert function._cache_size() == 1


@everything
def test_no_implicit_promotion(options):
    data, rows = place(_split()), _rows(16)

    def types(dtype):
        batch = jax.eval_shape(lambda: _batch(data, rows, dtype=dtype, **options))
        return batch.images.dtype, batch.labels.dtype

    labels = jnp.float32 if MIXED & {*options} else jnp.int32
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert types(jnp.float32) == (jnp.float32, labels)
        assert types(jnp.bfloat16) == (jnp.bfloat16, labels)
        with jax.enable_x64(True):
            assert types(jnp.float64) == (jnp.float64, labels)


# CutMix draws as Mixup does, whose Beta distribution takes long to compile.
@pytest.mark.slow
@pytest.mark.parametrize("options", EVERYTHING[:3], ids=" ".join)
def test_x64_does_not_change_what_is_drawn(options):
    data, rows = place(_split()), _rows(16)
    function = jax.jit(lambda step: _batch(data, rows, 7, 1, step, **options))
    narrow = function(2)
    with jax.enable_x64(True):
        wide = function(2)
    np.testing.assert_array_equal(narrow.images, wide.images)
    np.testing.assert_array_equal(narrow.labels, wide.labels)


# Levels of one row and one column of two images, as version 0.1.0 made them: results of runs stand
# on these numbers. Mixtures and resized crops are rounded, which may go either way.
@pytest.mark.parametrize(
    ("options", "row", "column"),
    [
        (
            EVERYTHING[0],
            [166, 132, 182, 149, 190, 59, 89, 251],
            [210, 130, 103, 190, 161, 10, 30, 0],
        ),
        (EVERYTHING[1], [128, 0, 0, 0, 0, 181, 206, 184], [158, 154, 132, 110, 110, 132, 154, 158]),
        (
            EVERYTHING[2],
            [224, 128, 128, 128, 128, 219, 105, 55],
            [220, 71, 67, 104, 146, 108, 83, 0],
        ),
    ],
    ids=["crop and flip", "resized crop, AutoAugment and Cutout", "Cutout and Mixup"],
)
def test_images_are_those_of_version_0_1_0(options, row, column):
    rows = ReadingOrder(7, 60, 8).epoch(1)[0]
    function = jax.jit(lambda data, rows: _batch(data, rows, 3, 1, 2, **options))
    batch = function(place(_split()), rows)
    levels = (np.asarray(batch.images, np.float64) * LOOK["std"] + LOOK["mean"]) * 255
    np.testing.assert_allclose(levels[0, 3, :, 0], row, atol=0.51)
    np.testing.assert_allclose(levels[5, :, 2, 1], column, atol=0.51)
    if "mixup_alpha" in options:
        expected = np.zeros(10)
        expected[[1, 4]] = 0.9928443, 0.0071557
        np.testing.assert_allclose(batch.labels[0], expected, atol=1e-6)
