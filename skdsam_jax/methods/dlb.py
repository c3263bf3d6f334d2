"""DLB: the last mini-batch, seen again, shall be predicted as it was."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from skdsam_jax import losses
from skdsam_jax.batch import Batch, split_reads
from skdsam_jax.methods.base import (
    ExitOutputs,
    Frozen,
    Memory,
    Method,
    MethodOptions,
    Terms,
    TrainingSet,
    named,
)
from skdsam_jax.options import number
from skdsam_jax.reads import Reads, with_previous


@dataclasses.dataclass(frozen=True)
class DlbOptions(MethodOptions):
    """Settings of `losses.dlb_loss`."""

    name: str = named("dlb")
    weight: float = number(0.5, "of the last batch's predictions", minimum=0)
    temperature: float = number(3.0, "softens the distilled distributions", above=0)


class Dlb(Method):
    """Self-distillation from the last mini-batch (Shen et al., CVPR 2022, arXiv:2203.16172).

    A step reads its new images and, augmented anew, those of the step before, each normalised by
    their own batch. Remembers the logits [B, classes] of the last batch, and which images [B] it
    held: where the images read again are others, as in a run's first step, they do not count.
    """

    Options: ClassVar = DlbOptions
    loss_function = staticmethod(losses.dlb_loss)
    # A mixture would be replayed with another partner, in another ratio.
    takes_soft_labels = False

    @classmethod
    def reads(cls, options: DlbOptions) -> Reads:
        """The anchor, and the one of the step before."""
        return with_previous

    def initial_memory(self, training_set: TrainingSet) -> Memory:
        """No image has the number -1."""
        batch, dtype = training_set.batch_size, self.classifier.dense.dtype
        return {
            "logits": jnp.zeros((batch, training_set.num_classes), dtype),
            "indices": jnp.full(batch, -1, jnp.int32),
        }

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.dlb_loss` of the new images and the replayed ones."""
        images, replayed = split_reads(batch.images, 2)
        labels, replay_labels = split_reads(batch.labels, 2)
        _, replay_indices = split_reads(batch.indices, 2)
        outputs = self.outputs(images, train=True)
        replay_logits = self.outputs(replayed, train=True).logits[-1]
        same = jnp.all(memory["indices"] == replay_indices)
        scalar, terms = losses.dlb_loss(
            outputs.logits[-1],
            labels,
            replay_logits,
            replay_labels,
            memory["logits"],
            replay_weight=same.astype(replay_logits.dtype),
            **self.loss_settings,
        )
        return scalar, (terms, outputs)

    def remember(
        self, memory: Memory, batch: Batch, outputs: ExitOutputs, taken: jax.Array
    ) -> Memory:
        """The batch takes the place of the last one."""
        indices, _ = split_reads(batch.indices, 2)
        logits = outputs.logits[-1].astype(memory["logits"].dtype)
        return {
            "logits": jnp.where(taken, logits, memory["logits"]),
            "indices": jnp.where(taken, indices, memory["indices"]),
        }
