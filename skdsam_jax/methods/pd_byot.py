"""PD-BYOT: BYOT whose terms fade with an exit's distance from the deepest."""

import dataclasses
from typing import ClassVar

from skdsam_jax import losses
from skdsam_jax.methods.base import named
from skdsam_jax.methods.byot import Byot, ByotOptions
from skdsam_jax.options import number


@dataclasses.dataclass(frozen=True)
class PdByotOptions(ByotOptions):
    """BYOT's settings and the factor of each term per exit of distance."""

    name: str = named("pd_byot")
    decay_ce: float = number(0.6, "factor of the cross-entropy per exit", above=0)
    decay_kl: float = number(1.1, "factor of the divergence per exit", above=0)
    decay_feature: float = number(1.0, "factor of the feature term per exit", above=0)


class PdByot(Byot):
    """BYOT with a decay per block; thesis equations 2.6-2.9."""

    Options: ClassVar = PdByotOptions
    loss_function = staticmethod(losses.pd_byot_loss)
