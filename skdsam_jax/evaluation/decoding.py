"""Reading ahead: threads make what will be needed next, and never much more."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST_THREADS = 16


def read_ahead(
    function: Callable[[T], R], items: Iterable[T], *, ahead: int, threads: int | None = None
) -> Iterator[R]:
    """The results of `function` for all items, in their order; Pillow decodes without the GIL.

    Args:
      function: called in threads; what it raises is raised here.
      items: what it is called with; they too are asked for only when they are needed.
      ahead: the most results that wait.
      threads: how many; None: one per core, at most 16.

    Yields:
      A result for each item.
    """
    count = min(os.cpu_count() or 1, _MOST_THREADS) if threads is None else threads
    with concurrent.futures.ThreadPoolExecutor(count) as executor:
        waiting: collections.deque[concurrent.futures.Future[R]] = collections.deque()
        try:
            for item in items:
                waiting.append(executor.submit(function, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
