import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax.data import DataOptions, Split
from skdsam_jax.data.pipelines.keys import Stream, stream_key
from skdsam_jax.data.pipelines.resident import (
    Batch,
    epoch_order,
    evaluation_batch,
    evaluation_order,
    place,
    training_batch,
)
from skdsam_jax.options import ConfigError

LOOK = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}


def _split(examples=60, side=8):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (examples, side, side, 3), np.uint8)
    return Split(images, generator.integers(0, 10, examples, np.int32))


def _normalized(images):
    return (images.astype(np.float64) / 255 - LOOK["mean"]) / LOOK["std"]


def _batch(data, indices, seed=0, epoch=0, step=0, dtype=jnp.float32, **options):
    return training_batch(
        data,
        indices,
        seed=seed,
        epoch=epoch,
        step=step,
        options=DataOptions(**{"crop_padding": 2, **options}),
        size=data.images.shape[1:3],
        num_classes=10,
        dtype=dtype,
        **LOOK,
    )


# Everything that a batch may go through.
EVERYTHING = [
    {},
    {"crop": "resized", "autoaugment": True, "cutout": "black"},
    {"cutout": "mean", "mixup_alpha": 0.2},
]
everything = pytest.mark.parametrize(
    "options", EVERYTHING, ids=lambda options: " ".join(options) or "crop and flip"
)


@pytest.mark.parametrize(("examples", "batch"), [(60, 8), (60, 60), (60, 1), (7, 3)])
def test_an_epoch_is_a_permutation_without_its_tail(examples, batch):
    order = epoch_order(0, 0, examples, batch)
    assert order.shape == (examples // batch, batch)
    assert order.dtype == jnp.int32
    seen = np.unique(order)
    assert len(seen) == order.size
    assert seen.min() >= 0
    assert seen.max() < examples


def test_orders_differ_by_epoch_and_seed_and_by_nothing_else():
    def order(seed, epoch):
        return tuple(np.asarray(epoch_order(seed, epoch, 60, 10)).ravel())

    orders = {order(seed, epoch) for seed in range(3) for epoch in range(5)}
    assert len(orders) == 15
    assert order(2, 3) == order(np.int32(2), jnp.int32(3))


def test_every_place_of_an_example_is_equally_likely():
    orders = jax.vmap(lambda epoch: epoch_order(0, epoch, 6, 6)[0])(jnp.arange(1200))
    places = np.argsort(orders, axis=1)
    for example in range(6):
        counts = np.bincount(places[:, example], minlength=6)
        # Binomial(1200, 1/6) has deviation 12.9.
        assert np.all(np.abs(counts - 200) < 5 * 12.9)


def test_an_order_is_compiled_once():
    epoch_order(0, 0, 61, 7)
    before = epoch_order._cache_size()
    for epoch in range(1, 4):
        epoch_order(epoch, epoch, 61, 7)
    assert epoch_order._cache_size() == before


def test_a_batch_larger_than_the_data_is_refused_with_both_numbers():
    with pytest.raises(ConfigError) as error:
        epoch_order(0, 0, 60, 64)
    assert str(error.value) == (
        "config.training.batch_size: takes at most the 60 training examples, not 64"
    )


@pytest.mark.parametrize(("examples", "batch"), [(60, 8), (60, 60), (60, 100), (64, 16), (1, 4)])
def test_evaluation_counts_every_example_once(examples, batch):
    indices, mask = evaluation_order(examples, batch)
    assert indices.shape == mask.shape == (-(-examples // batch), batch)
    assert indices.dtype == np.int32
    np.testing.assert_array_equal(indices[mask], np.arange(examples))
    assert np.all(indices[~mask] == 0)


def test_an_evaluation_batch_is_normalised_and_not_distorted():
    split = _split()
    indices, mask = evaluation_order(len(split), 16)
    batch = evaluation_batch(place(split), jnp.asarray(indices[-1]), **LOOK)
    assert isinstance(batch, Batch)
    assert batch.images.dtype == jnp.float32
    expected = _normalized(split.images[indices[-1]])
    np.testing.assert_allclose(batch.images, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(batch.labels, split.labels[indices[-1]])
    assert mask[-1].sum() == 60 - 48


def test_a_training_batch_without_augmentation():
    split = _split()
    indices = jnp.array([5, 3, 59, 0], jnp.int32)
    batch = _batch(place(split), indices, crop_padding=0, flip=False)
    expected = _normalized(split.images[np.asarray(indices)])
    np.testing.assert_allclose(batch.images, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(batch.labels, split.labels[np.asarray(indices)])
    np.testing.assert_array_equal(batch.indices, indices)


def test_every_training_image_is_some_crop_or_its_mirror():
    """Looks for each image among all that it may have become: the padding is black."""
    split, padding = _split(side=6), 2
    indices = np.arange(24, dtype=np.int32)
    batch = _batch(place(split), jnp.asarray(indices), crop_padding=padding)
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
    data, indices = place(_split()), jnp.arange(16, dtype=jnp.int32)
    first, again = _batch(data, indices), _batch(data, indices)
    np.testing.assert_array_equal(first.images, again.images)
    assert np.any(first.images != _batch(data, indices, **{changed: 1}).images)


def test_crops_and_flips_are_independent():
    """With one key for both, an image's offset would tell whether it is mirrored."""
    side = 9
    columns = np.broadcast_to(
        np.arange(1, side + 1, dtype=np.uint8).reshape(1, 1, side, 1), (4000, side, side, 3)
    )
    data = place(Split(columns, np.zeros(4000, np.int32)))
    batch = _batch(data, jnp.arange(4000, dtype=jnp.int32))
    pixels = np.rint((np.asarray(batch.images) * LOOK["std"] + LOOK["mean"]) * 255)[:, 4, :, 0]
    mirrored = pixels[:, 3] > pixels[:, 5]
    offsets = pixels[:, 4] - 3
    table = np.zeros((2, 5))
    np.add.at(table, (mirrored.astype(int), offsets.astype(int)), 1)
    # Each of ten cells: binomial with mean 400 and deviation 19.
    assert np.all(np.abs(table - 400) < 5 * 19)


@everything
def test_one_and_eight_devices_make_the_same_batch(options):
    split = _split()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    by_batch = jax.sharding.NamedSharding(mesh, jax.P("data"))
    function = jax.jit(lambda data, row, epoch, step: _batch(data, row, 3, epoch, step, **options))
    row = epoch_order(3, 1, 60, 32)[0]
    one = function(place(split), row, 1, 2)
    data = place(split, jax.sharding.NamedSharding(mesh, jax.P()))
    arguments = (data, jax.device_put(row, by_batch), 1, 2)
    with jax.set_mesh(mesh):
        eight = function(*arguments)
        compiled = function.lower(*arguments).compile().as_text()
    assert eight.images.sharding.is_equivalent_to(by_batch, 4)
    for ours, theirs in zip(one, eight, strict=True):
        if "mixup_alpha" in options:
            # The two programs round sums of products differently.
            np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    # Each device makes its part without hearing of the others, unless images are mixed.
    if "mixup_alpha" not in options:
        for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
            assert f"{collective}(" not in compiled


def test_traced_epoch_and_step_are_compiled_once_and_change_nothing():
    data, indices = place(_split()), jnp.arange(16, dtype=jnp.int32)
    function = jax.jit(lambda epoch, step: _batch(data, indices, 5, epoch, step))
    for epoch, step in ((0, 0), (0, 3), (2, 1)):
        eager = _batch(data, indices, 5, epoch, step).images
        np.testing.assert_allclose(function(epoch, step).images, eager, rtol=1e-6, atol=1e-6)
    assert function._cache_size() == 1


@everything
def test_no_implicit_promotion(options):
    data, indices = place(_split()), jnp.arange(16, dtype=jnp.int32)

    def types(dtype):
        batch = jax.eval_shape(lambda: _batch(data, indices, dtype=dtype, **options))
        return batch.images.dtype, batch.labels.dtype

    labels = jnp.float32 if "mixup_alpha" in options else jnp.int32
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert types(jnp.float32) == (jnp.float32, labels)
        assert types(jnp.bfloat16) == (jnp.bfloat16, labels)
        with jax.enable_x64(True):
            assert types(jnp.float64) == (jnp.float64, labels)


@everything
def test_x64_does_not_change_what_is_drawn(options):
    data, indices = place(_split()), jnp.arange(16, dtype=jnp.int32)
    function = jax.jit(lambda step: _batch(data, indices, 7, 1, step, **options))
    narrow, order = function(2), epoch_order(7, 1, 60, 16)
    with jax.enable_x64(True):
        wide, wide_order = function(2), epoch_order(7, 1, 60, 16)
    np.testing.assert_array_equal(narrow.images, wide.images)
    np.testing.assert_array_equal(narrow.labels, wide.labels)
    np.testing.assert_array_equal(order, wide_order)


def test_keys_are_folded_in_turn():
    expected = jax.random.key(4, impl="threefry2x32")
    for number in (int(Stream.AUGMENTATION), 7, 9):
        expected = jax.random.fold_in(expected, number)
    assert stream_key(4, Stream.AUGMENTATION, 7, 9) == expected


def test_keys_differ_and_ignore_the_default_generator():
    def numbers():
        return {
            tuple(np.asarray(jax.random.key_data(stream_key(seed, stream, epoch, step))))
            for seed in range(2)
            for stream in Stream
            for epoch in range(3)
            for step in range(3)
        }

    expected = numbers()
    assert len(expected) == 2 * len(Stream) * 9
    with jax.default_prng_impl("rbg"):
        assert numbers() == expected
