"""Label smoothing: cross-entropy against labels that give a little to every other class."""

import dataclasses
from typing import ClassVar

import jax

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms, named
from skdsam_jax.options import number, option


@dataclasses.dataclass(frozen=True)
class LabelSmoothingOptions(MethodOptions):
    """Settings of `losses.label_smoothing_loss`."""

    name: str = named("label_smoothing")
    smoothing: float = number(0.1, "probability taken from the label", minimum=0, below=1)
    spread: str = option(
        "others", "over which classes: the others, or all of them", choices=("others", "all")
    )


class LabelSmoothing(Method):
    """Label smoothing (Szegedy et al., CVPR 2016, arXiv:1512.00567), a second baseline."""

    Options: ClassVar = LabelSmoothingOptions
    loss_function = staticmethod(losses.label_smoothing_loss)

    def objective(self, outputs: ExitOutputs, batch: Batch) -> tuple[jax.Array, Terms]:
        """`losses.label_smoothing_loss` of the deepest exit."""
        return losses.label_smoothing_loss(outputs.logits[-1], batch.labels, **self.loss_settings)
