"""DDGSD: two distortions of one image shall be predicted alike."""

import dataclasses
from typing import ClassVar

import jax

from skdsam_jax import losses
from skdsam_jax.batch import Batch, split_reads
from skdsam_jax.methods.base import (
    ExitOutputs,
    Frozen,
    Memory,
    Method,
    MethodOptions,
    Terms,
    named,
)
from skdsam_jax.options import number, option
from skdsam_jax.reads import Reads, twice


@dataclasses.dataclass(frozen=True)
class DdgsdOptions(MethodOptions):
    """Settings of `losses.ddgsd_loss`."""

    name: str = named("ddgsd")
    cross_entropy_weight: float = number(1.0, "of the mean over both distortions", minimum=0)
    distillation_weight: float = number(1.0, "lambda, of the two divergences", minimum=0)
    feature_weight: float = number(5e-4, "mu, of the distance of the mean features", minimum=0)
    temperature: float = number(3.0, "softens the distilled distributions", above=0)
    feature_statistic: str = option(
        "mean_vector",
        "what is compared of the features: their mean over the batch, or one grand mean",
        choices=("mean_vector", "grand_mean"),
    )


class Ddgsd(Method):
    """Data-distortion guided self-distillation (Xu and Liu, AAAI 2019).

    Both distortions of an image pass the network together, 2B images a step.
    """

    Options: ClassVar = DdgsdOptions
    loss_function = staticmethod(losses.ddgsd_loss)

    @classmethod
    def reads(cls, options: DdgsdOptions) -> Reads:
        """The anchor in two augmentations."""
        return twice

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.ddgsd_loss` of both distortions."""
        both = self.outputs(batch.images, train=True)
        labels, _ = split_reads(batch.labels, 2)
        logits, other_logits = split_reads(both.logits[-1], 2)
        features, other_features = split_reads(both.features[-1], 2)
        scalar, terms = losses.ddgsd_loss(
            logits, other_logits, features, other_features, labels, **self.loss_settings
        )
        return scalar, (terms, ExitOutputs((logits,), (features,)))
