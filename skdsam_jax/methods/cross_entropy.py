"""Plain training of the deepest exit: the baseline every method is compared with."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms, named


@dataclasses.dataclass(frozen=True)
class CrossEntropyOptions(MethodOptions):
    """Cross-entropy has no settings of its own."""

    name: str = named("cross_entropy")


class CrossEntropy(Method):
    """Cross-entropy between the deepest exit and the labels; no other exits are built."""

    Options: ClassVar = CrossEntropyOptions
    loss_function = staticmethod(losses.cross_entropy)

    def objective(self, outputs: ExitOutputs, batch: Batch) -> tuple[jax.Array, Terms]:
        """mean_b CE(z^C_b, y_b)."""
        cross_entropy = losses.cross_entropy(outputs.logits[-1], batch.labels)
        return jnp.mean(cross_entropy), {"cross_entropy": cross_entropy}
