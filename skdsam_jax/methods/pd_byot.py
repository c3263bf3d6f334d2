"""PD-BYOT: BYOT whose terms fade with an exit's distance from the deepest."""

import dataclasses
from typing import ClassVar

import jax

from skdsam_jax import losses
from skdsam_jax.methods.base import ExitOutputs, Terms
from skdsam_jax.methods.byot import Byot, ByotOptions
from skdsam_jax.options import option


@dataclasses.dataclass(frozen=True)
class PdByotOptions(ByotOptions):
    """BYOT's settings and the factor of each term per exit of distance."""

    decay_ce: float = option(0.6, "factor of the cross-entropy per exit", above=0)
    decay_kl: float = option(1.1, "factor of the divergence per exit", above=0)
    decay_feature: float = option(1.0, "factor of the feature term per exit", above=0)


class PdByot(Byot):
    """BYOT with a decay per block; thesis equations 2.6-2.9."""

    Options: ClassVar = PdByotOptions

    def objective(self, outputs: ExitOutputs, labels: jax.Array) -> tuple[jax.Array, Terms]:
        """`losses.pd_byot_loss` of the exits."""
        return losses.pd_byot_loss(
            outputs.logits,
            outputs.features,
            labels,
            alpha=self.options.alpha,
            feature_weight=self.options.feature_weight,
            temperature=self.options.temperature,
            decay_ce=self.options.decay_ce,
            decay_kl=self.options.decay_kl,
            decay_feature=self.options.decay_feature,
        )
