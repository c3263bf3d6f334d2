"""BAKE: images of a batch that are alike teach each other."""

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
from skdsam_jax.reads import Reads, with_companions


@dataclasses.dataclass(frozen=True)
class BakeOptions(MethodOptions):
    """Settings of `losses.bake_loss`, and how many companions an anchor has."""

    name: str = named("bake")
    weight: float = number(1.0, "of the ensembled prediction", minimum=0)
    temperature: float = number(4.0, "softens the distilled distributions", above=0)
    omega: float = number(0.5, "share of the other images in a target", minimum=0, below=1)
    companions: int = option(3, "M, images of its class beside each anchor", minimum=1)


class Bake(Method):
    """Batch knowledge ensembling (Ge et al., 2021, arXiv:2104.13298).

    A step reads M companions of the same class for each anchor, without replacement and without the
    anchor, (M + 1) B images that pass the network together and all count in the loss. The paper's
    batch of 128 is `config.training.batch_size=32`.
    """

    Options: ClassVar = BakeOptions
    loss_function = staticmethod(losses.bake_loss)

    @classmethod
    def reads(cls, options: BakeOptions) -> Reads:
        """The anchor and its companions."""
        return with_companions(options.companions, include_self=False)

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.bake_loss` of anchors and companions."""
        together = self.outputs(batch.images, train=True)
        logits, features = together.logits[-1], together.features[-1]
        scalar, terms = losses.bake_loss(logits, features, batch.labels, **self.loss_settings)
        reads = 1 + self.options.companions
        anchors = ExitOutputs((split_reads(logits, reads)[0],), (split_reads(features, reads)[0],))
        return scalar, (terms, anchors)
