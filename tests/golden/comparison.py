"""One array of a golden file beside what this library computes for it."""

from typing import NamedTuple

import numpy as np

# Below this a difference does not count, so that values that happen to be near 0 can pass.
FLOOR = 1e-12


class Comparison(NamedTuple):
    """An array computed here and the golden one.

    Golden values that are all zero ask for exact zeros: they are gradients that must not exist.

    Attributes:
      name: of the array within its entry.
      computed: what the library gives.
      golden: what the file holds.
      tolerance: the largest difference that passes, relative to the largest golden value.
      absolute: whether the tolerance is that of the difference itself, for golden values that would
        be zero but for rounding.
    """

    name: str
    computed: np.ndarray
    golden: np.ndarray
    tolerance: float
    absolute: bool = False

    @property
    def error(self) -> float:
        """The largest difference relative to the largest golden value; infinite for NaN or shape.

        Where all golden values are zero, the largest value computed; if absolute, the difference.
        """
        computed = np.asarray(self.computed, np.float64)
        if computed.shape != self.golden.shape or not np.isfinite(computed).all():
            return np.inf
        scale = 1.0 if self.absolute else self._largest()
        return self._difference(computed) / (scale or 1.0)

    @property
    def passes(self) -> bool:
        """Whether the error is within the tolerance; the floor of 1e-12 counts unless all is 0."""
        if not np.isfinite(self.error):
            return False
        if self.absolute:
            return self.error <= self.tolerance
        largest = self._largest()
        allowed = self.tolerance * largest + FLOOR if largest else 0.0
        return self._difference(np.asarray(self.computed, np.float64)) <= allowed

    def _largest(self) -> float:
        return float(np.abs(self.golden).max(initial=0.0))

    def _difference(self, computed: np.ndarray) -> float:
        return float(np.abs(computed - self.golden).max(initial=0.0))
