"""BYOT: every shallow exit learns from the labels and from the deepest exit."""

import dataclasses
from typing import Any, ClassVar

import jax
from flax import nnx

from skdsam_jax import losses
from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms
from skdsam_jax.options import option


@dataclasses.dataclass(frozen=True)
class ByotOptions(MethodOptions):
    """Settings of `losses.byot_loss`, and the kind of head."""

    alpha: float = option(0.3, "weight of distillation against the labels", minimum=0, maximum=1)
    feature_weight: float = option(1e-4, "weight of the squared feature distance", minimum=0)
    temperature: float = option(3.0, "softens the distilled distributions", above=0)
    head: str = option("bottleneck", "kind of shallow head", choices=("bottleneck", "sepconv"))


class Byot(Method):
    """Be Your Own Teacher (Zhang et al., ICCV 2019, arXiv:1905.08094); thesis equation 2.5."""

    Options: ClassVar = ByotOptions

    def __init__(
        self,
        backbone: nnx.Module,
        num_classes: int,
        options: ByotOptions = ByotOptions(),
        **settings: Any,
    ) -> None:
        super().__init__(backbone, num_classes, options, head=options.head, **settings)

    def objective(self, outputs: ExitOutputs, labels: jax.Array) -> tuple[jax.Array, Terms]:
        """`losses.byot_loss` of the exits."""
        return losses.byot_loss(
            outputs.logits,
            outputs.features,
            labels,
            alpha=self.options.alpha,
            feature_weight=self.options.feature_weight,
            temperature=self.options.temperature,
        )
