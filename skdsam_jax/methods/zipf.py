"""Zipf's label smoothing: the places of an image vote on how probable the other classes are."""

import dataclasses
from typing import ClassVar

import jax

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import (
    ExitOutputs,
    Frozen,
    Memory,
    Method,
    MethodOptions,
    Terms,
    named,
)
from skdsam_jax.models.operations import double
from skdsam_jax.options import number


@dataclasses.dataclass(frozen=True)
class ZipfOptions(MethodOptions):
    """Settings of `losses.zipf_loss`."""

    name: str = named("zipf")
    weight: float = number(0.1, "of the ranked targets; 1 for Tiny ImageNet", minimum=0)
    power: float = number(1.0, "how fast a target falls with its rank", minimum=0)


class Zipf(Method):
    """Zipf's label smoothing (Liang et al., ECCV 2022, arXiv:2207.08980), with dense votes.

    The classifier looks at every place of the deepest map, doubled by bilinear interpolation, and
    each place votes for one class.
    """

    Options: ClassVar = ZipfOptions
    loss_function = staticmethod(losses.zipf_loss)
    takes_soft_labels = False

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.zipf_loss` of the deepest exit, ranked by the votes."""
        stages = self.classifier.backbone(batch.images, train=True)
        outputs = self.exit_outputs(stages, train=True)
        # Votes are counts: no gradient could pass them.
        map_ = double(jax.lax.stop_gradient(stages[-1]))
        examples, features = map_.shape[0], map_.shape[-1]
        dense_logits = self.classifier.dense(map_.reshape(examples, -1, features))
        votes = losses.vote_counts(jax.lax.stop_gradient(dense_logits))
        scalar, terms = losses.zipf_loss(
            outputs.logits[-1], batch.labels, votes, **self.loss_settings
        )
        return scalar, (terms, outputs)
