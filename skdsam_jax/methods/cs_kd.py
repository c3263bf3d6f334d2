"""CS-KD: two images of one class shall be predicted alike."""

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
from skdsam_jax.options import number
from skdsam_jax.reads import Reads, with_companions


@dataclasses.dataclass(frozen=True)
class CsKdOptions(MethodOptions):
    """Settings of `losses.cs_kd_loss`."""

    name: str = named("cs_kd")
    weight: float = number(1.0, "lambda, of the partner's prediction; 3 for photographs", minimum=0)
    temperature: float = number(4.0, "softens both predictions", above=0)


class CsKd(Method):
    """Class-wise self-knowledge distillation (Yun et al., CVPR 2020, arXiv:2003.13964).

    Every anchor has a partner, drawn from all images of its class, itself included. The partners
    pass the network after the anchors, normalised by their own batch, and without a gradient.
    """

    Options: ClassVar = CsKdOptions
    loss_function = staticmethod(losses.cs_kd_loss)

    @classmethod
    def reads(cls, options: CsKdOptions) -> Reads:
        """The anchor and its partner."""
        return with_companions(1, include_self=True)

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.cs_kd_loss` of anchors and partners."""
        anchors, partners = split_reads(batch.images, 2)
        labels, _ = split_reads(batch.labels, 2)
        outputs = self.outputs(anchors, train=True)
        partner_logits = self.outputs(partners, train=True).logits[-1]
        scalar, terms = losses.cs_kd_loss(
            outputs.logits[-1], partner_logits, labels, **self.loss_settings
        )
        return scalar, (terms, outputs)
