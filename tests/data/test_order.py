"""Which examples a step reads: a pure function of the seed, whatever is read beside the anchors."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax.data.pipelines import order as order_module
from skdsam_jax.data.pipelines.order import ReadingOrder, evaluation_order
from skdsam_jax.options import ConfigError
from skdsam_jax.reads import once, twice, with_companions, with_previous

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [5, 12, 7])).astype(np.int32)

every_kind = pytest.mark.parametrize(
    "reads",
    [
        once,
        twice,
        with_previous,
        with_companions(3, include_self=False),
        with_companions(2, include_self=True),
    ],
    ids=repr,
)


def _order(reads, seed=0):
    return ReadingOrder(seed, len(LABELS), 5, reads, LABELS if reads.needs_labels else None)


@pytest.mark.parametrize(("examples", "batch"), [(60, 8), (60, 60), (60, 1), (7, 3)])
def test_an_epoch_is_a_permutation_without_its_tail(examples, batch):
    reading = ReadingOrder(0, examples, batch)
    order = reading.epoch(0)
    assert order.shape == (reading.steps, batch, 1) == (examples // batch, batch, 1)
    assert order.dtype == jnp.int32
    seen = np.unique(order)
    assert len(seen) == order.size
    assert seen.min() >= 0
    assert seen.max() < examples


def test_orders_differ_by_epoch_and_seed_and_by_nothing_else():
    def order(seed, epoch):
        return tuple(np.asarray(ReadingOrder(seed, 60, 10).epoch(epoch)).ravel())

    orders = {order(seed, epoch) for seed in range(3) for epoch in range(5)}
    assert len(orders) == 15
    assert order(2, 3) == order(np.int32(2), jnp.int32(3))


def test_every_place_of_an_example_is_equally_likely():
    orders = jax.vmap(lambda epoch: ReadingOrder(0, 6, 6).epoch(epoch)[0, :, 0])(jnp.arange(1200))
    places = np.argsort(orders, axis=1)
    for example in range(6):
        counts = np.bincount(places[:, example], minlength=6)
        # Binomial(1200, 1/6) has deviation 12.9.
        assert np.all(np.abs(counts - 200) < 5 * 12.9)


def test_the_order_is_that_of_version_0_1_0():
    """Which images a run has seen, and so its results, stand on these numbers."""
    order = ReadingOrder(7, 60, 8).epoch(1)[..., 0]
    np.testing.assert_array_equal(order[0], [59, 5, 23, 53, 48, 35, 9, 16])
    np.testing.assert_array_equal(order[-1], [51, 33, 12, 58, 3, 45, 18, 38])
    largest_seed = ReadingOrder(2**32 - 1, 60, 8).epoch(0)[..., 0]
    np.testing.assert_array_equal(largest_seed[3], [47, 12, 42, 25, 49, 21, 57, 54])


@every_kind
def test_every_kind_of_reading_has_the_same_anchors(reads):
    expected = ReadingOrder(4, 24, 5).epoch(2)
    found = _order(reads, seed=4).epoch(2)
    assert found.shape == (4, 5, reads.count)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found[..., :1], expected)


@every_kind
def test_an_order_is_compiled_once(reads):
    _order(reads).epoch(0)
    before = order_module._epoch._cache_size()
    for epoch in range(1, 4):
        _order(reads, seed=epoch).epoch(epoch)
    assert order_module._epoch._cache_size() == before


@every_kind
def test_an_order_reaches_other_processes_unchanged(reads):
    order = _order(reads)
    copy = pickle.loads(pickle.dumps(order))
    assert copy.reads == reads
    np.testing.assert_array_equal(copy.epoch(3), order.epoch(3))


@every_kind
def test_x64_and_strict_promotion_change_no_order(reads):
    expected = np.asarray(_order(reads).epoch(1))
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        wide = _order(reads).epoch(1)
    assert wide.dtype == jnp.int32
    np.testing.assert_array_equal(wide, expected)


@every_kind
def test_the_order_is_the_same_for_any_number_of_devices(reads):
    """Where labels lie on eight devices, as the images do, the order is that of one."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    order = _order(reads)
    labels = jax.device_put(LABELS, jax.sharding.NamedSharding(mesh, jax.P()))
    replicated = dataclasses.replace(order, labels=labels)
    with jax.set_mesh(mesh):
        np.testing.assert_array_equal(replicated.epoch(2), order.epoch(2))


def test_images_per_batch_counts_every_read():
    assert _order(with_companions(2, include_self=True)).images_per_batch == 15


def test_a_batch_larger_than_the_data_is_refused_with_both_numbers():
    with pytest.raises(ConfigError) as error:
        ReadingOrder(0, 60, 64)
    assert str(error.value) == (
        "config.training.batch_size: takes at most the 60 training examples, not 64"
    )


def test_labels_that_reads_need_are_asked_for():
    with pytest.raises(ValueError, match=r"labels: .*WithCompanions.* needs those of the training"):
        ReadingOrder(0, 60, 6, with_companions(1, include_self=False))


@pytest.mark.parametrize(("examples", "batch"), [(60, 8), (60, 60), (60, 100), (64, 16), (1, 4)])
def test_evaluation_counts_every_example_once(examples, batch):
    indices, mask = evaluation_order(examples, batch)
    assert indices.shape == mask.shape == (-(-examples // batch), batch)
    assert indices.dtype == np.int32
    np.testing.assert_array_equal(indices[mask], np.arange(examples))
    assert np.all(indices[~mask] == 0)
