"""DKS: exits on copies of the deeper stages teach each other, all of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms, named
from skdsam_jax.models import last_stage_whole
from skdsam_jax.options import number


@dataclasses.dataclass(frozen=True)
class DksOptions(MethodOptions):
    """Settings of `losses.dks_loss`."""

    name: str = named("dks")
    weight: float = number(1.0, "of every ordered pair of exits", minimum=0)
    temperature: float = number(
        1.0, "softens the distilled distributions; its square multiplies them", above=0
    )


class Dks(Method):
    """Deeply-supervised knowledge synergy (Sun et al., CVPR 2019, arXiv:1906.00675).

    Of S stages the two before the deepest have exits: stage S-2 one block for the stage between and
    a whole copy of the deepest, stage S-1 a copy of the deepest.
    """

    Options: ClassVar = DksOptions
    loss_function = staticmethod(losses.dks_loss)
    copies_stages = True

    @classmethod
    def shallow_exits(cls, options: DksOptions, stages: int) -> Mapping[str, Any]:
        """Copies of what is to come, on the two stages before the deepest."""
        two = tuple(range(max(stages - 3, 0), stages - 1))
        return {"head": "branch", "stages": two, "depths": last_stage_whole}

    def objective(self, outputs: ExitOutputs, batch: Batch) -> tuple[jax.Array, Terms]:
        """`losses.dks_loss` of the exits."""
        return losses.dks_loss(outputs.logits, batch.labels, **self.loss_settings)
