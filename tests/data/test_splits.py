import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdsam_jax.data.splits import stratified_choice

LABELS = st.lists(st.integers(0, 6), max_size=80)


@given(labels=LABELS, share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_disjoint_complete_ascending_and_in_proportion(labels, share, seed):
    labels = np.array(labels, np.int32)
    size = int(share * len(labels))
    chosen, rest = stratified_choice(labels, size, seed)
    assert len(chosen) == size
    assert sorted([*chosen, *rest]) == list(range(len(labels)))
    assert np.all(np.diff(chosen) > 0)
    assert np.all(np.diff(rest) > 0)
    for label in set(labels.tolist()):
        exact = np.sum(labels == label) * size / len(labels)
        assert abs(np.sum(labels[chosen] == label) - exact) < 1


@given(labels=LABELS, share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_the_same_seed_makes_the_same_choice(labels, share, seed):
    labels = np.array(labels, np.int32)
    size = int(share * len(labels))
    first, second = (stratified_choice(labels, size, seed)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_largest_remainders_are_rounded_up():
    labels = np.repeat([0, 1, 2], [7, 5, 3])
    chosen, _ = stratified_choice(labels, 7, 0)
    # 7 * (7, 5, 3) / 15 = 3.27, 2.33, 1.4: one place is left, and class 2 is owed most of it.
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [3, 2, 2])


def test_every_example_is_equally_likely():
    labels = np.repeat([0, 1], [6, 12])
    counts = np.zeros(18)
    for seed in range(2000):
        counts[stratified_choice(labels, 9, seed)[0]] += 1
    # Binomial(2000, 1/2) has deviation 22.4.
    assert np.all(np.abs(counts - 1000) < 5 * 22.4)


def test_seeds_differ():
    labels = np.zeros(100, np.int32)
    choices = {tuple(stratified_choice(labels, 50, seed)[0]) for seed in (0, 1, (0, 1), (1, 1))}
    assert len(choices) == 4


@pytest.mark.parametrize("size", [-1, 4])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(ValueError, match=f"size: takes 0 to 3, not {size}"):
        stratified_choice(np.zeros(3, np.int32), size, 0)
