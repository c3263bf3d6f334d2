"""Subsets in which every class keeps its share."""

from collections.abc import Sequence

import numpy as np


def stratified_choice(
    labels: np.ndarray, size: int, seed: int | Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses examples at random so that every class keeps its share.

    A class of n_c among n examples gets size n_c / n of them; where that is not whole, the
    largest remainders are rounded up and the others down, equal remainders by lowest class.

    Args:
      labels: integers [examples], at least 0.
      size: how many to choose, from 0 to all.
      seed: of `numpy.random.default_rng`; the same seed makes the same choice.

    Returns:
      The indices chosen, int [size], and all the others; both ascending.

    Raises:
      ValueError: `size` is negative or more than there are.
    """
    total = len(labels)
    if not 0 <= size <= total:
        raise ValueError(f"size: takes 0 to {total}, not {size}")
    counts = np.bincount(labels)
    quotas, remainders = np.divmod(counts * size, max(total, 1))
    largest = np.argsort(-remainders, kind="stable")[: size - quotas.sum()]
    quotas[largest] += 1
    generator = np.random.default_rng(seed)
    chosen = np.zeros(total, bool)
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(labels == label)
        chosen[generator.permutation(members)[:quota]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)
