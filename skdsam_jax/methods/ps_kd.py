"""PS-KD: what a network predicted an epoch ago refines the labels of today."""

import dataclasses
from typing import ClassVar

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
    TrainingSet,
    named,
)
from skdsam_jax.options import number


@dataclasses.dataclass(frozen=True)
class PsKdOptions(MethodOptions):
    """The setting of `losses.ps_kd_alpha`."""

    name: str = named("ps_kd")
    final_alpha: float = number(
        0.8, "weight of the past prediction in the last epoch", minimum=0, maximum=1
    )


class PsKd(Method):
    """Progressive self-knowledge distillation (Kim et al., ICCV 2021, arXiv:2006.12000).

    Remembers for each training image the prediction of the last step that saw it: probabilities
    [examples, classes], at first the labels, so that the first epoch is plain cross-entropy.
    """

    Options: ClassVar = PsKdOptions
    loss_function = staticmethod(losses.ps_kd_loss)
    takes_soft_labels = False

    def initial_memory(self, training_set: TrainingSet) -> Memory:
        """The labels, as probabilities."""
        dtype = self.classifier.dense.dtype
        labels, classes = training_set.labels, training_set.num_classes
        return {"probabilities": losses.initial_memory(labels, classes, dtype)}

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.ps_kd_loss` with the weight of the epoch."""
        outputs = self.outputs(batch.images, train=True)
        moment = batch.moment
        scalar, terms = losses.ps_kd_loss(
            outputs.logits[-1],
            batch.labels,
            memory["probabilities"][batch.indices],
            alpha=losses.ps_kd_alpha(moment.epoch, moment.epochs, self.options.final_alpha),
        )
        return scalar, (terms, outputs)

    def remember(
        self, memory: Memory, batch: Batch, outputs: ExitOutputs, taken: jax.Array
    ) -> Memory:
        """Replaces the rows of the batch."""
        past = memory["probabilities"]
        rows = jax.nn.softmax(outputs.logits[-1]).astype(past.dtype)
        rows = jnp.where(taken, rows, past[batch.indices])
        return {"probabilities": past.at[batch.indices].set(rows)}
