"""How long functions take, compared fairly on a machine whose speed drifts."""

import statistics
import time
from collections.abc import Callable, Sequence

import jax


def median_seconds(
    functions: Sequence[Callable[[], object]], *, seconds: float, rounds: int = 3
) -> list[float]:
    """The median time of each function.

    Each is called once before, to compile. Then they take turns, so that a machine that becomes
    slower becomes so for all of them.

    Args:
      functions: each returns arrays, which are waited for.
      seconds: after which no further round begins.
      rounds: the fewest.

    Returns:
      Seconds per call.
    """
    for function in functions:
        jax.block_until_ready(function())
    times: list[list[float]] = [[] for _ in functions]
    begin = time.perf_counter()
    while len(times[0]) < rounds or time.perf_counter() - begin < seconds:
        for function, taken in zip(functions, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(function())
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]
