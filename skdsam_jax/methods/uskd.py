"""USKD: targets for all classes from the student and from a weak classifier beneath it."""

import dataclasses
from typing import ClassVar, Unpack

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
from skdsam_jax.models import Backbone, Settings, global_average_pool, rectified
from skdsam_jax.models.layers import Dense
from skdsam_jax.options import number, option


@dataclasses.dataclass(frozen=True)
class UskdOptions(MethodOptions):
    """Settings of `losses.uskd_loss`."""

    name: str = named("uskd")
    target_weight: float = number(0.1, "alpha, of the label's class", minimum=0)
    non_target_weight: float = number(0.1, "beta, of the other classes", minimum=0)
    weak_weight: float = number(0.1, "mu, of the weak classifier's own loss", minimum=0)
    rank: str = option(
        "log_probability",
        "what ranks the other classes: as the published code does, or as the paper says",
        choices=("log_probability", "probability"),
    )


class Uskd(Method):
    """Universal self-knowledge distillation (Yang et al., ICCV 2023, arXiv:2303.13005).

    Attributes:
      weak: pooled features of the last but one stage -> weak logits; gone after training.
    """

    Options: ClassVar = UskdOptions
    loss_function = staticmethod(losses.uskd_loss)
    takes_soft_labels = False

    def add_layers(
        self, backbone: Backbone, num_classes: int, **settings: Unpack[Settings]
    ) -> None:
        """The weak classifier."""
        self.weak = Dense(backbone.channels[-2], num_classes, **settings)

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.uskd_loss` of the deepest exit and the weak one."""
        backbone = self.classifier.backbone
        stages = backbone(batch.images, train=True)
        outputs = self.exit_outputs(stages, train=True)
        below = rectified(stages, preactivation=backbone.preactivation)[-2]
        weak_logits = self.weak(global_average_pool(below))
        scalar, terms = losses.uskd_loss(
            outputs.logits[-1], weak_logits, batch.labels, **self.loss_settings
        )
        return scalar, (terms, outputs)
