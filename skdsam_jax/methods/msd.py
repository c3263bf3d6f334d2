"""MSD: every exit learns from every other, and from the deepest features less and less."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms, named
from skdsam_jax.models import one_block_each
from skdsam_jax.options import number


@dataclasses.dataclass(frozen=True)
class MsdOptions(MethodOptions):
    """Settings of `losses.msd_loss`."""

    name: str = named("msd")
    alpha: float = number(0.1, "weight of the other exits against the labels", minimum=0, maximum=1)
    feature_weight: float = number(
        1e-4, "beta, of the squared feature distance in the first step; falls to 0", minimum=0
    )
    temperature: float = number(3.0, "softens the distilled distributions", above=0)


class Msd(Method):
    """Multi-self-distillation (Luan et al., 2019, arXiv:1911.09418).

    Every shallow stage has an exit with one block of the trunk's kind for each stage to come. The
    weight of the features follows half a cosine over the run, from `feature_weight` to 0.
    """

    Options: ClassVar = MsdOptions
    loss_function = staticmethod(losses.msd_loss)
    copies_stages = True

    @classmethod
    def shallow_exits(cls, options: MsdOptions, stages: int) -> Mapping[str, Any]:
        """One block for each stage to come, on every shallow stage."""
        return {"head": "branch", "depths": one_block_each}

    def objective(self, outputs: ExitOutputs, batch: Batch) -> tuple[jax.Array, Terms]:
        """`losses.msd_loss` of the exits."""
        moment = batch.moment
        beta = losses.cosine_weight(moment.step, moment.steps, self.options.feature_weight)
        settings = self.loss_settings | {"feature_weight": beta}
        return losses.msd_loss(outputs.logits, outputs.features, batch.labels, **settings)
