"""Plain training of the deepest exit: the baseline every method is compared with."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax import losses
from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms


@dataclasses.dataclass(frozen=True)
class CrossEntropyOptions(MethodOptions):
    """Cross-entropy has no settings of its own."""


class CrossEntropy(Method):
    """Cross-entropy between the deepest exit and the labels; no other exits are built."""

    Options: ClassVar = CrossEntropyOptions

    def __init__(
        self,
        backbone: nnx.Module,
        num_classes: int,
        options: CrossEntropyOptions = CrossEntropyOptions(),
        **settings: Any,
    ) -> None:
        super().__init__(backbone, num_classes, options, head=None, **settings)

    def objective(self, outputs: ExitOutputs, labels: jax.Array) -> tuple[jax.Array, Terms]:
        """mean_b CE(z^C_b, y_b)."""
        cross_entropy = losses.cross_entropy(outputs.logits[-1], labels)
        return jnp.mean(cross_entropy), {"cross_entropy": cross_entropy}
