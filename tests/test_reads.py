"""What a step reads beside its anchors."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdsam_jax.data.pipelines.order import ReadingOrder
from skdsam_jax.options import ConfigError
from skdsam_jax.reads import once, twice, with_companions, with_previous

EXAMPLES, BATCH = 26, 6

compiled = functools.partial(jax.jit, static_argnums=0)(
    lambda reads, anchors, previous, labels, key: reads(anchors, previous, labels, key)
)


def _epoch(reads, epoch, seed=1, labels=None):
    return np.asarray(ReadingOrder(seed, EXAMPLES, BATCH, reads, labels).epoch(epoch))


@pytest.mark.parametrize(("reads", "count"), [(once, 1), (twice, 2)])
def test_an_anchor_is_repeated(reads, count):
    rows = _epoch(reads, 0)
    assert reads.count == rows.shape[-1] == count
    np.testing.assert_array_equal(rows, np.repeat(rows[..., :1], count, axis=-1))


def test_the_previous_anchor_is_that_of_the_step_before_over_the_border_of_epochs():
    rows = np.concatenate([_epoch(with_previous, epoch) for epoch in range(4)])
    np.testing.assert_array_equal(rows[1:, :, 1], rows[:-1, :, 0])
    # Before a run's first step there was none.
    np.testing.assert_array_equal(rows[0, :, 1], rows[0, :, 0])


def test_reads_are_values():
    """Compiled functions are found by them, in whatever process they were made."""
    assert with_companions(2, include_self=True) == with_companions(2, include_self=True)
    kinds = {once, twice, with_previous}
    kinds |= {with_companions(count, include_self=own) for count in (1, 2) for own in (False, True)}
    assert len(kinds) == 7
    assert [reads.needs_labels for reads in (once, twice, with_previous)] == [False] * 3


@st.composite
def _labels(draw):
    """24 labels, of classes with 4 to 12 examples that stand anywhere; a class may be missing."""
    sizes, left = [], 24
    while left:
        largest = left if left < 8 else min(12, left - 4)
        sizes.append(draw(st.integers(4, largest)) if left >= 8 else left)
        left -= sizes[-1]
    classes = draw(st.permutations(range(8)))[: len(sizes)]
    order = draw(st.permutations(np.repeat(classes, sizes).tolist()))
    return np.array(order, np.int32)


@settings(deadline=None, max_examples=60)
@given(
    labels=_labels(),
    companions=st.integers(1, 3),
    include_self=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 1000),
)
def test_companions_are_different_examples_of_the_class(
    labels, companions, include_self, seed, epoch
):
    reads = with_companions(companions, include_self=include_self)
    rows = np.asarray(ReadingOrder(seed, 24, 8, reads, labels).epoch(epoch))
    assert rows.shape == (3, 8, 1 + companions)
    np.testing.assert_array_equal(labels[rows], labels[rows[..., :1]] + 0 * rows)
    # Without replacement, and without the anchor unless it may be among them.
    distinct = rows[..., 1:] if include_self else rows
    ordered = np.sort(distinct, axis=-1)
    assert np.all(ordered[..., 1:] != ordered[..., :-1])


@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize(("anchor", "size"), [(0, 5), (2, 3)])
def test_every_choice_of_companions_is_equally_likely(anchor, size, include_self):
    """All ordered pairs of a class, counted over 12000 draws for one anchor."""
    labels, draws = np.array([4, 0, 1, 0, 4, 1, 4, 0, 1, 4, 4], np.int32), 12_000
    reads = with_companions(2, include_self=include_self)
    anchors = jnp.full((1, draws), anchor, jnp.int32)
    rows = compiled(reads, anchors, anchors[0], labels, jax.random.key(3))
    others = [
        example
        for example in np.flatnonzero(labels == labels[anchor])
        if include_self or example != anchor
    ]
    assert len(others) == size - (not include_self)
    pairs = list(itertools.permutations(others, 2))
    found = [tuple(pair) for pair in np.asarray(rows[0, :, 1:]).tolist()]
    assert set(found) <= {tuple(map(int, pair)) for pair in pairs}
    probability = 1 / len(pairs)
    deviation = np.sqrt(draws * probability * (1 - probability))
    for pair in pairs:
        assert abs(found.count(pair) - draws * probability) <= 5 * deviation


def test_companions_differ_by_epoch_and_by_place():
    """The same anchors in other epochs and steps are given others."""
    labels = np.zeros(EXAMPLES, np.int32)
    reads = with_companions(1, include_self=False)
    first, second = (
        dict(_epoch(reads, epoch, labels=labels).reshape(-1, 2).tolist()) for epoch in (0, 1)
    )
    same = [first[anchor] == second[anchor] for anchor in first.keys() & second.keys()]
    # Each is the same with probability 1/25.
    assert sum(same) < 8
    offsets = {(companion - anchor) % EXAMPLES for anchor, companion in first.items()}
    assert len(offsets) > 5


@pytest.mark.parametrize(
    ("companions", "include_self", "needed"), [(3, False, 4), (4, True, 4), (5, False, 6)]
)
def test_a_class_with_too_few_examples_is_named_in_one_line(companions, include_self, needed):
    labels = np.repeat(np.array([0, 2, 7], np.int32), [5, 3, 4])
    with pytest.raises(ConfigError) as error:
        ReadingOrder(0, 12, 2, with_companions(companions, include_self=include_self), labels)
    assert str(error.value) == (
        f"config.method: {companions} companions of each image take {needed} or more training "
        "images of each class; class 2 has 3"
    )


@pytest.mark.parametrize(("companions", "include_self"), [(2, False), (3, True)])
def test_a_class_with_just_enough_examples_is_read(companions, include_self):
    labels = np.repeat(np.array([0, 1], np.int32), [3, 3])
    reads = with_companions(companions, include_self=include_self)
    rows = np.asarray(ReadingOrder(0, 6, 6, reads, labels).epoch(0))[0]
    whole_class = rows[:, 1:] if include_self else rows
    for anchor, found in zip(rows[:, 0], whole_class, strict=True):
        assert sorted(found) == np.flatnonzero(labels == labels[anchor]).tolist()


def test_no_companion_is_no_reading():
    with pytest.raises(ValueError, match="count: takes at least 1 companion, not 0"):
        with_companions(0, include_self=True)
