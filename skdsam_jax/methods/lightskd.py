"""LightSKD: a shallow branch guides the network, and the last batch lends its shape."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

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
from skdsam_jax.options import number, option


@dataclasses.dataclass(frozen=True)
class LightSkdOptions(MethodOptions):
    """Settings of `losses.lightskd_loss`; 0 takes its part out of the network too."""

    name: str = named("lightskd")
    guidance_weight: float = option(
        0.2, "alpha, of the branch's prediction (DRG); 0: there is no branch", minimum=0
    )
    shape_weight: float = option(
        1.0, "beta, of the last batch's sorted predictions (DSR); 0: no memory", minimum=0
    )
    temperature: float = number(4.0, "softens the distilled distributions", above=0)


class LightSkd(Method):
    """LightSKD (Xu et al., 2023): reverse guidance and shape-wise regularisation.

    One exit, a SepConv head behind an attention link, hangs on stage S-2 of S and learns from the
    labels alone; the deepest exit learns from it. Remembers the logits [B, classes] of the last
    batch, which count from the second step of an epoch on.
    """

    Options: ClassVar = LightSkdOptions
    loss_function = staticmethod(losses.lightskd_loss)

    @classmethod
    def shallow_exits(cls, options: LightSkdOptions, stages: int) -> Mapping[str, Any] | None:
        """One SepConv head, on the last stage but two."""
        if options.guidance_weight == 0:
            return None
        return {"head": "sepconv", "stages": (max(stages - 3, 0),), "align_corners": True}

    def initial_memory(self, training_set: TrainingSet) -> Memory:
        """Logits that no step reads."""
        if self.options.shape_weight == 0:
            return {}
        shape = (training_set.batch_size, training_set.num_classes)
        return {"logits": jnp.zeros(shape, self.classifier.dense.dtype)}

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.lightskd_loss`, whose shape term is absent from an epoch's first step."""
        outputs = self.outputs(batch.images, train=True)
        *branch, logits = outputs.logits
        begun = (batch.moment.epoch_step > 0).astype(logits.dtype)
        settings = self.loss_settings | {"shape_weight": begun * self.options.shape_weight}
        scalar, terms = losses.lightskd_loss(
            logits,
            branch[0] if branch else None,
            batch.labels,
            memory["logits"] if memory else None,
            **settings,
        )
        return scalar, (terms, outputs)

    def remember(
        self, memory: Memory, batch: Batch, outputs: ExitOutputs, taken: jax.Array
    ) -> Memory:
        """The batch takes the place of the last one."""
        if not memory:
            return memory
        before = memory["logits"]
        return {"logits": jnp.where(taken, outputs.logits[-1].astype(before.dtype), before)}
