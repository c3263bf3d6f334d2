"""BYOT: every shallow exit learns from the labels and from the deepest exit."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms, named
from skdsam_jax.options import number, option


@dataclasses.dataclass(frozen=True)
class ByotOptions(MethodOptions):
    """Settings of `losses.byot_loss`, and the kind of head."""

    name: str = named("byot")
    alpha: float = number(0.3, "weight of distillation against the labels", minimum=0, maximum=1)
    feature_weight: float = number(1e-4, "weight of the squared feature distance", minimum=0)
    temperature: float = number(3.0, "softens the distilled distributions", above=0)
    head: str = option("bottleneck", "kind of shallow head", choices=("bottleneck", "sepconv"))


class Byot(Method):
    """Be Your Own Teacher (Zhang et al., ICCV 2019, arXiv:1905.08094); thesis equation 2.5."""

    Options: ClassVar = ByotOptions
    loss_function = staticmethod(losses.byot_loss)

    @classmethod
    def shallow_exits(cls, options: ByotOptions, stages: int) -> Mapping[str, Any]:
        """A head of the chosen kind on every shallow stage."""
        return {"head": options.head}

    def objective(self, outputs: ExitOutputs, batch: Batch) -> tuple[jax.Array, Terms]:
        """`loss_function` of the exits."""
        return self.loss_function(
            outputs.logits, outputs.features, batch.labels, **self.loss_settings
        )
