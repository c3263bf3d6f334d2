"""Whether two implementations compute the same: without that their times compare nothing."""

import dataclasses
from collections.abc import Mapping

import numpy as np


class DisagreementError(ValueError):
    """Two implementations compute different losses or gradients from the same weights."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far two implementations are apart.

    Attributes:
      loss: |a - b| / |b|.
      gradient: the largest, over parameters, of ||a - b|| / max(||b||, 1e-3 ||all of b||); the
        second of the two because some gradients are zero but for rounding.
      parameter: where that is.
    """

    loss: float
    gradient: float
    parameter: str


def compare(
    ours: tuple[float, Mapping[str, np.ndarray]],
    theirs: tuple[float, Mapping[str, np.ndarray]],
    tolerance: float,
) -> Agreement:
    """Compares (loss, gradient of every parameter) of two implementations.

    Args:
      ours: of one.
      theirs: of the other, under the same names.
      tolerance: what the gradient may differ by; the loss a tenth of that.

    Returns:
      How far they are apart.

    Raises:
      DisagreementError: more than that, or the parameters are not the same ones.
    """
    (loss, gradient), (other_loss, other_gradient) = ours, theirs
    if gradient.keys() != other_gradient.keys():
        odd = sorted(gradient.keys() ^ other_gradient.keys())
        raise DisagreementError(f"only one of the two has {', '.join(odd[:5])}")
    whole = np.sqrt(sum(np.sum(np.square(array)) for array in other_gradient.values()))
    distances = {
        name: float(
            np.linalg.norm(array - other_gradient[name])
            / max(np.linalg.norm(other_gradient[name]), 1e-3 * whole)
        )
        for name, array in gradient.items()
    }
    # NaN counts as the largest here; Python's `max` would pass over it.
    worst = list(distances)[int(np.argmax(list(distances.values())))]
    agreement = Agreement(abs(loss - other_loss) / abs(other_loss), distances[worst], worst)
    # Not "greater than": NaN must not pass.
    if not (agreement.gradient <= tolerance and agreement.loss <= tolerance / 10):
        raise DisagreementError(
            f"losses {loss:.7g} and {other_loss:.7g}; gradients of {worst} differ by "
            f"{agreement.gradient:.1e} of their size, {tolerance:.0e} is tolerated"
        )
    return agreement
