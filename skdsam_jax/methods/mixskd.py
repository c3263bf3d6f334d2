"""MixSKD: what is said of mixed images, and the mix of what is said of images, shall agree."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax import losses
from skdsam_jax.batch import Batch, join_reads, split_reads
from skdsam_jax.methods.base import (
    ExitOutputs,
    Frozen,
    Memory,
    Method,
    MethodOptions,
    Terms,
    named,
)
from skdsam_jax.models import (
    Backbone,
    Discriminator,
    FusionHead,
    Settings,
    global_average_pool,
    whole_stages,
)
from skdsam_jax.options import number


@dataclasses.dataclass(frozen=True)
class MixSkdOptions(MethodOptions):
    """Settings of `losses.mixskd_loss`, and how images are mixed."""

    name: str = named("mixskd")
    mixed_cross_entropy_weight: float = number(1.0, "of the labels of mixed images", minimum=0)
    distillation_weight: float = number(1.0, "of the divergences", minimum=0)
    feature_weight: float = number(1.0, "of the distance of the feature maps", minimum=0)
    discriminator_weight: float = number(1.0, "of the discriminators' own loss", minimum=0)
    temperature: float = number(3.0, "softens the distilled distributions", above=0)
    mixing_alpha: float = number(
        0.4, "images are mixed in the ratio Beta(alpha, alpha); 0.2 for ImageNet", above=0
    )


class MixSkd(Method):
    """Self-knowledge distillation from Mixup (Yang et al., ECCV 2022, arXiv:2208.05768).

    A step reads its B images and B mixtures of them, 2B together. Every shallow stage has a copy of
    the stages to come; a fusion head on all maps is the self-teacher, measured as another
    prediction, `fusion`. Of the faults of the public code it repeats none: mixed labels count,
    discriminators are trained, and what is reported is the backbone's own exit.

    Attributes:
      fusion: maps of all exits -> logits.
      discriminators: of each exit, a map -> two scores.
    """

    Options: ClassVar = MixSkdOptions
    loss_function = staticmethod(losses.mixskd_loss)
    copies_stages = True
    # An image is mixed with another one.
    minimum_batch = 2

    def add_layers(
        self, backbone: Backbone, num_classes: int, **settings: Unpack[Settings]
    ) -> None:
        """Fusion head and discriminators."""
        features, exits = backbone.channels[-1], len(backbone.channels)
        self.fusion = FusionHead(features, exits, num_classes, **settings)
        self.discriminators = nnx.List(Discriminator(features, **settings) for _ in range(exits))

    @classmethod
    def shallow_exits(cls, options: MixSkdOptions, stages: int) -> Mapping[str, Any]:
        """Copies of all that is to come, on every shallow stage."""
        return {"head": "branch", "depths": whole_stages}

    @classmethod
    def images_per_anchor(cls, options: MixSkdOptions) -> int:
        """Every image, and a mixture with it."""
        return 2

    def exit_outputs(self, stages: tuple[jax.Array, ...], *, train: bool) -> ExitOutputs:
        """What every exit computes, and what the fusion of their maps predicts."""
        maps, outputs = self._exits(stages, train=train)
        return outputs._replace(others={"fusion": self.fusion(maps)})

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.mixskd_loss` of images and their mixtures."""
        ratio, partner = self._draw(batch)

        def mix(values: jax.Array) -> jax.Array:
            share = ratio.astype(values.dtype)
            return share * values + (1 - share) * values[partner]

        both = join_reads(batch.images, mix(batch.images))
        stages = self.classifier.backbone(both, train=True)
        maps, outputs = self._exits(stages, train=True)
        clean_maps, mixed_maps = _halves(maps)
        clean_logits, mixed_logits = _halves(outputs.logits)
        interpolated = tuple(map(mix, clean_maps))
        ensemble_logits = self.fusion(interpolated)
        scalar, terms = losses.mixskd_loss(
            clean_logits,
            mixed_logits,
            clean_maps,
            mixed_maps,
            ensemble_logits,
            self.fusion(mixed_maps),
            self._scores(interpolated),
            self._scores(mixed_maps),
            batch.labels,
            partner,
            ratio.astype(ensemble_logits.dtype),
            **self.loss_settings,
        )
        others = {"fusion": self.fusion(clean_maps)}
        clean = ExitOutputs(clean_logits, _halves(outputs.features)[0], others=others)
        return scalar, (terms, clean)

    def _draw(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The share of each image itself, and a permutation of the batch."""
        ratio_key, partner_key = jax.random.split(batch.moment.key)
        alpha = jnp.float32(self.options.mixing_alpha)
        ratio = jax.random.beta(ratio_key, alpha, alpha, (), jnp.float32)
        examples = jnp.arange(len(batch.labels), dtype=jnp.int32)
        return ratio, jax.random.permutation(partner_key, examples)

    def _exits(
        self, stages: tuple[jax.Array, ...], *, train: bool
    ) -> tuple[tuple[jax.Array, ...], ExitOutputs]:
        shallow = self.exits.feature_maps(stages, train=train)
        features, logits = self.exits.classify(shallow)
        feature = global_average_pool(stages[-1])
        outputs = ExitOutputs((*logits, self.classifier.dense(feature)), (*features, feature))
        return (*shallow, stages[-1]), outputs

    def _scores(self, maps: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        pairs = zip(self.discriminators, maps, strict=True)
        return tuple(discriminate(map_) for discriminate, map_ in pairs)


def _halves(
    values: tuple[jax.Array, ...],
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Of each array what belongs to the images, and what belongs to their mixtures."""
    clean, mixed = zip(*(split_reads(value, 2) for value in values), strict=True)
    return clean, mixed
