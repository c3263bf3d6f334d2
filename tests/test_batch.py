"""Reads side by side in a batch: taken apart, and put together again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from skdsam_jax.batch import Batch, join_reads, split_reads


@settings(deadline=None, max_examples=30)
@given(st.data(), st.integers(1, 4), st.integers(1, 5))
def test_reads_of_an_anchor_are_neighbours(data, count, anchors):
    values = data.draw(st_numpy.arrays(np.int32, (anchors * count, 2)))
    parts = split_reads(jnp.asarray(values), count)
    assert len(parts) == count
    for read, part in enumerate(parts):
        np.testing.assert_array_equal(part, values[read::count])
    np.testing.assert_array_equal(join_reads(*parts), values)


def test_vectors_are_split_like_images():
    labels, images = jnp.arange(6), jnp.arange(6 * 4).reshape(6, 2, 2, 1)
    for label, image in zip(split_reads(labels, 3), split_reads(images, 3), strict=True):
        np.testing.assert_array_equal(image[:, 0, 0, 0], 4 * label)


def test_what_is_no_whole_number_of_anchors_is_refused():
    with pytest.raises(TypeError, match="reshape"):
        split_reads(jnp.arange(5), 2)


def test_splitting_a_batch_over_devices_keeps_reads_together():
    """Taking apart and putting together needs no communication where anchors are sharded."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
    values = jax.device_put(np.arange(48.0, dtype=np.float32).reshape(16, 3), sharding)

    def swap(values):
        first, second = split_reads(values, 2)
        return join_reads(second, first)

    compiled = jax.jit(swap).lower(values).compile()
    expected = np.asarray(values).reshape(8, 2, 3)[:, ::-1].reshape(16, 3)
    np.testing.assert_array_equal(compiled(values), expected)
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert f"{collective}(" not in compiled.as_text()


def test_a_batch_that_is_evaluated_has_no_moment():
    batch = Batch(jnp.zeros((2, 1, 1, 3)), jnp.zeros(2, int), jnp.arange(2))
    assert batch.moment is None
    assert len(jax.tree.leaves(batch)) == 3
