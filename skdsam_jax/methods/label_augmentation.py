"""Self-supervised label augmentation: rotated images make a finer classification problem.

Lee, Hwang and Shin, Self-supervised Label Augmentation via Input Transformations, ICML 2020
(arXiv:1910.05872), in its self-distilled form, joined to cross-entropy and to SKDSAM.
"""

import dataclasses
from typing import Any, ClassVar, Unpack

import jax
import jax.numpy as jnp

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
from skdsam_jax.methods.cross_entropy import CrossEntropy, CrossEntropyOptions
from skdsam_jax.methods.skdsam import Skdsam, SkdsamOptions
from skdsam_jax.models import Backbone, Settings
from skdsam_jax.models.layers import Dense, global_average_pool
from skdsam_jax.options import number

_TURNS = 4


def _aggregation_temperature() -> Any:
    return number(1.0, "T_a, softens the aggregated and the single prediction", above=0)


class LabelAugmentation(Method):
    """Adds a joint head to another method; to be named before it among the base classes.

    The backbone reads every image upright and turned by 90, 180 and 270 degrees, 4B images a step.
    A second dense layer on the deepest features F_C predicts class y and turn r together, as label
    4 y + r of 4M. The other method's exits see the upright images alone:

        loss = L + 1/(4B) sum_(b, r) CE(joint_(b, r), 4 y_b + r)
                 + T_a^2 / B sum_b KL(aggregated_b || z^C_b)

    with the other method's loss L, aggregated_b[y] = 1/4 sum_r joint_(b, r)[4 y + r], and both
    sides of KL softened by T_a. No gradient reaches the aggregated side. The upright image alone is
    single inference, and what the classifier is left for; `aggregated` needs four turns and the
    joint layer.

    Attributes:
      joint: deepest features [.., D] -> joint logits [.., 4M].
    """

    def add_layers(
        self, backbone: Backbone, num_classes: int, **settings: Unpack[Settings]
    ) -> None:
        """The joint head."""
        super().add_layers(backbone, num_classes, **settings)
        self.joint = Dense(backbone.channels[-1], _TURNS * num_classes, **settings)

    @classmethod
    def images_per_anchor(cls, options: MethodOptions) -> int:
        """Every image in four turns."""
        return _TURNS * super().images_per_anchor(options)

    @staticmethod
    def views(images: jax.Array) -> jax.Array:
        """Turns each image by 0, 90, 180 and 270 degrees, counter-clockwise.

        Args:
          images: [batch, side, side, channels].

        Returns:
          [4 batch, side, side, channels], the four of an image side by side: on several devices
          they stay where the image is.

        Raises:
          ValueError: the images are not square.
        """
        batch, height, width, channels = images.shape
        if height != width:
            raise ValueError(f"images: rotations take square images, not {height}x{width}")
        turned = jnp.stack([jnp.rot90(images, turn, (1, 2)) for turn in range(_TURNS)], axis=1)
        return turned.reshape(_TURNS * batch, height, width, channels)

    def outputs(self, images: jax.Array, *, train: bool) -> ExitOutputs:
        """What every exit computes for upright images, and the aggregated logits."""
        return self._look(images, train=train)[0]

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """The loss above; its terms `joint_cross_entropy` (mean over r) and `aggregation_kl`."""
        outputs, joint = self._look(batch.images, train=True)
        scalar, terms = self.objective(outputs, batch)
        examples, turns, *_ = joint.shape
        joint_cross_entropy = losses.cross_entropy(
            joint.reshape(examples * turns, -1), _joint_labels(batch.labels)
        )
        joint_cross_entropy = jnp.mean(joint_cross_entropy.reshape(examples, turns), axis=1)
        temperature = self.options.aggregation_temperature
        aggregated = outputs.others["aggregated"]
        aggregation_kl = losses.distillation_kl(outputs.logits[-1], aggregated, temperature)
        scalar += jnp.mean(joint_cross_entropy + temperature**2 * aggregation_kl)
        terms |= {"joint_cross_entropy": joint_cross_entropy, "aggregation_kl": aggregation_kl}
        return scalar, (terms, outputs)

    def _look(self, images: jax.Array, *, train: bool) -> tuple[ExitOutputs, jax.Array]:
        """The upright images' outputs, and joint logits [batch, turn, class, predicted turn]."""
        batch = images.shape[0]
        stages = self.classifier.backbone(self.views(images), train=train)
        joint = self.joint(global_average_pool(stages[-1])).reshape(batch, _TURNS, -1, _TURNS)
        upright = tuple(stage.reshape(batch, _TURNS, *stage.shape[1:])[:, 0] for stage in stages)
        aggregated = jnp.trace(joint, axis1=1, axis2=3) / _TURNS
        outputs = self.exit_outputs(upright, train=train)
        return outputs._replace(others={"aggregated": aggregated}), joint


def _joint_labels(labels: jax.Array) -> jax.Array:
    """Labels of class and turn: integers [4 batch] or probabilities [4 batch, 4 classes]."""
    turns = jnp.arange(_TURNS, dtype=jnp.int32)
    if labels.ndim == 1:
        return (_TURNS * labels[:, None] + turns[None]).reshape(-1)
    turned = labels[:, None, :, None] * jnp.eye(_TURNS, dtype=labels.dtype)[None, :, None, :]
    return turned.reshape(_TURNS * labels.shape[0], -1)


@dataclasses.dataclass(frozen=True)
class SlaSdOptions(CrossEntropyOptions):
    """The setting of the joint loss; cross-entropy has none of its own."""

    name: str = named("sla_sd")
    aggregation_temperature: float = _aggregation_temperature()


class SlaSd(LabelAugmentation, CrossEntropy):
    """SLA with self-distillation: cross-entropy joined; equals `losses.sla_sd_loss`."""

    Options: ClassVar = SlaSdOptions
    loss_function = staticmethod(losses.sla_sd_loss)


@dataclasses.dataclass(frozen=True)
class SkdsamSlaOptions(SkdsamOptions):
    """SKDSAM's settings and that of the joint loss."""

    name: str = named("skdsam_sla")
    aggregation_temperature: float = _aggregation_temperature()


class SkdsamSla(LabelAugmentation, Skdsam):
    """SKDSAM with self-supervised label augmentation: attends to the upright images alone."""

    Options: ClassVar = SkdsamSlaOptions
