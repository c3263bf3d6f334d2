"""Tf-KD: a virtual teacher in place of a trained one."""

import dataclasses
from typing import ClassVar

import jax

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms, named
from skdsam_jax.options import number


@dataclasses.dataclass(frozen=True)
class TfKdOptions(MethodOptions):
    """Settings of `losses.tf_kd_reg_loss`."""

    name: str = named("tf_kd")
    weight: float = number(0.1, "share of the teacher against the labels", minimum=0, maximum=1)
    temperature: float = number(20.0, "softens the teacher alone", above=0)
    correct_probability: float = number(
        0.99, "what the teacher gives to the label before it is softened", above=0, below=1
    )
    scale: float = number(1.0, "multiplies the teacher's term", minimum=0)


class TfKd(Method):
    """Teacher-free distillation by regularisation (Yuan et al., CVPR 2020, arXiv:1909.11723).

    Softened at T = 20 the teacher is uniform to 5 %, whatever it gave to the label: the method is
    label smoothing over all classes, with gradients that differ by 5e-5 of their size.
    """

    Options: ClassVar = TfKdOptions
    loss_function = staticmethod(losses.tf_kd_reg_loss)
    takes_soft_labels = False

    def objective(self, outputs: ExitOutputs, batch: Batch) -> tuple[jax.Array, Terms]:
        """`losses.tf_kd_reg_loss` of the deepest exit."""
        return losses.tf_kd_reg_loss(outputs.logits[-1], batch.labels, **self.loss_settings)
