"""SAD: each stage shall look where the next one looks."""

import dataclasses
from typing import ClassVar

import jax

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import (
    ExitOutputs,
    Frozen,
    Memory,
    Method,
    MethodOptions,
    Terms,
    named,
)
from skdsam_jax.models import rectified
from skdsam_jax.options import number, option


@dataclasses.dataclass(frozen=True)
class SadOptions(MethodOptions):
    """Settings of `losses.sad_loss`."""

    name: str = named("sad")
    weight: float = number(1000.0, "of the distance of the attention maps", minimum=0)
    channel_reduction: str = option(
        "mean", "of the squared features to one map", choices=("mean", "sum")
    )
    upsample: str = option(
        "features",
        "what is doubled: the deeper features, or their map",
        choices=("features", "maps"),
    )


class Sad(Method):
    """Self attention distillation (Hou et al., ICCV 2019, arXiv:1908.00821), for classification."""

    Options: ClassVar = SadOptions
    loss_function = staticmethod(losses.sad_loss)

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.sad_loss` of the deepest exit and all stages."""
        backbone = self.classifier.backbone
        stages = backbone(batch.images, train=True)
        outputs = self.exit_outputs(stages, train=True)
        maps = rectified(stages, preactivation=backbone.preactivation)
        scalar, terms = losses.sad_loss(
            outputs.logits[-1], maps, batch.labels, **self.loss_settings
        )
        return scalar, (terms, outputs)
