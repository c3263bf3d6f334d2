"""FRSKD: a self-teacher refines the network's own features and teaches it."""

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
from skdsam_jax.models import Backbone, SelfTeacher, Settings, rectified
from skdsam_jax.options import number, option


@dataclasses.dataclass(frozen=True)
class FrskdOptions(MethodOptions):
    """Settings of `losses.frskd_loss`, and the size of the self-teacher."""

    name: str = named("frskd")
    distillation_weight: float = number(
        2.0, "alpha, of the self-teacher's prediction; 3 for Tiny ImageNet", minimum=0
    )
    feature_weight: float = number(100.0, "beta, of the refined features", minimum=0)
    temperature: float = number(4.0, "softens the distilled distributions", above=0)
    teacher_width: int = option(
        2, "features of the self-teacher at a stage, per feature of the stage", minimum=1
    )
    teacher_depth: int = option(2, "separable convolutions in each of its units", minimum=1)


class Frskd(Method):
    """Feature refinement via self-knowledge distillation (Ji et al., CVPR 2021, arXiv:2103.08273).

    The self-teacher reads all stages and is trained by the labels, through the backbone too; what
    it predicts and what it makes of each stage teach the network. It is measured as another
    prediction, `self_teacher`, and gone at inference.

    Attributes:
      self_teacher: stages -> refined maps and logits.
    """

    Options: ClassVar = FrskdOptions
    loss_function = staticmethod(losses.frskd_loss)

    def add_layers(
        self, backbone: Backbone, num_classes: int, **settings: Unpack[Settings]
    ) -> None:
        """The self-teacher."""
        self.self_teacher = SelfTeacher(
            backbone.channels,
            num_classes,
            width=self.options.teacher_width,
            depth=self.options.teacher_depth,
            **settings,
        )

    def exit_outputs(self, stages: tuple[jax.Array, ...], *, train: bool) -> ExitOutputs:
        """The deepest exit, and what the self-teacher predicts."""
        outputs = super().exit_outputs(stages, train=train)
        _, _, teacher_logits = self._refine(stages, train=train)
        return outputs._replace(others={"self_teacher": teacher_logits})

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.frskd_loss` of the network and its self-teacher."""
        stages = self.classifier.backbone(batch.images, train=True)
        outputs = super().exit_outputs(stages, train=True)
        maps, refined, teacher_logits = self._refine(stages, train=True)
        scalar, terms = losses.frskd_loss(
            outputs.logits[-1], maps, teacher_logits, refined, batch.labels, **self.loss_settings
        )
        return scalar, (terms, outputs._replace(others={"self_teacher": teacher_logits}))

    def _refine(
        self, stages: tuple[jax.Array, ...], *, train: bool
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...], jax.Array]:
        """Maps of all stages, what the self-teacher makes of them, and its logits."""
        maps = rectified(stages, preactivation=self.classifier.backbone.preactivation)
        return maps, *self.self_teacher(maps, train=train)
