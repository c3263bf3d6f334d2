"""The exits of a network: the deepest, which is left at inference, and the shallow ones."""

from collections.abc import Sequence
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from skdsam_jax.models.backbone import Backbone
from skdsam_jax.models.heads import BottleneckHead, BranchHead, Head
from skdsam_jax.models.layers import Dense, global_average_pool
from skdsam_jax.models.sepconv import SepConvHead
from skdsam_jax.models.settings import Settings
from skdsam_jax.options import ConfigError

# A new kind of head is one file here and one line in this table.
HEADS: dict[str, type[Head]] = {
    "sepconv": SepConvHead,
    "bottleneck": BottleneckHead,
    "branch": BranchHead,
}


class Classifier(nnx.Module):
    """The deepest exit: all of the network that inference needs.

        logits = dense(mean over pixels of backbone(images)[-1])

    Attributes:
      backbone: images -> stages.
      dense: pooled features of the deepest stage -> logits.
    """

    def __init__(self, backbone: Backbone, num_classes: int, **settings: Unpack[Settings]) -> None:
        self.backbone = backbone
        self.dense = Dense(backbone.channels[-1], num_classes, **settings)

    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits [batch, num_classes], in at least float32, of images [batch, height, width, 3]."""
        return self.dense(global_average_pool(self.backbone(images, train=train)[-1]))


class ShallowExits(nnx.Module):
    """A head and a dense layer for shallow stages; thrown away after training.

    Attributes:
      stages: index from 0 of the stage of each exit, shallow to deep.
      heads: of each exit, the stage's output -> features [batch, D].
      dense: of each exit, features -> logits.
      minimum_image_size: the smallest side of an image, in pixels, that the heads can take.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        head: str = "sepconv",
        stages: Sequence[int] | None = None,
        width_cap: int | None = None,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
        **head_options: Any,
    ) -> None:
        """Creates the exits.

        Args:
          backbone: the network they hang on.
          num_classes: the number of classes.
          head: a name of `HEADS`: "sepconv" (of SKDSAM and LightSKD), "bottleneck" (of BYOT and
            PD-BYOT) or "branch" (of MSD, DKS and MixSKD).
          stages: indices from 0 of the shallow stages that get an exit, increasing; None: all.
          width_cap: the most features within heads and links. What they end with, D features or a
            mask, stays as wide as it is.
          dtype: as in `Settings`; so are the next two.
          param_dtype: what the parameters are kept in.
          rngs: initialises the parameters.
          **head_options: what the `on` of that kind of head takes besides: `links` and
            `align_corners` of "sepconv", `depths` of "branch".

        Raises:
          ConfigError: this kind of head takes no cap.
          ValueError: no head has that name, or `stages` are not increasing shallow stages.
        """
        if head not in HEADS:
            raise ValueError(f"head: takes one of {', '.join(HEADS)}, not {head!r}")
        shallow = range(len(backbone.channels) - 1)
        self.stages = tuple(shallow) if stages is None else tuple(stages)
        if self.stages != tuple(sorted(set(self.stages) & set(shallow))):
            raise ValueError(
                f"stages: takes increasing numbers from 0 to {shallow[-1]}, not {self.stages}"
            )
        settings = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.heads = nnx.List(
            HEADS[head].on(backbone, stage, width_cap=width_cap, **head_options, **settings)
            for stage in self.stages
        )
        self.dense = nnx.List(
            Dense(backbone.channels[-1], num_classes, **settings) for _ in self.heads
        )
        # Stages have the image's side over their reduction, rounded up.
        self.minimum_image_size = max(
            (
                (head.minimum_size - 1) * backbone.reductions[stage] + 1
                for head, stage in zip(self.heads, self.stages, strict=True)
            ),
            default=1,
        )

    def __call__(
        self, stages: tuple[jax.Array, ...], *, train: bool
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        """What the exits compute: `classify(maps(stages))`.

        Args:
          stages: the backbone's outputs, the deepest included.
          train: normalise by the batch and update the running averages.

        Returns:
          Pooled features [batch, D] and logits [batch, num_classes] of each exit, shallow to deep,
          in at least float32.

        Raises:
          ConfigError: the images are smaller than `minimum_image_size`.
        """
        return self.classify(self.feature_maps(stages, train=train))

    def feature_maps(self, stages: tuple[jax.Array, ...], *, train: bool) -> tuple[jax.Array, ...]:
        """The map [batch, h, w, D] of each exit before pooling; takes what `__call__` takes."""
        maps = []
        for index, head in zip(self.stages, self.heads, strict=True):
            if min(stages[index].shape[1:3]) < head.minimum_size:
                size = "x".join(map(str, stages[index].shape[1:3]))
                raise ConfigError(
                    f"config.data.image_size: these heads take {self.minimum_image_size} pixels or "
                    f"more; stage {index + 1} has {size}, not {head.minimum_size} a side"
                )
            maps.append(head.feature_map(stages[index], train=train))
        return tuple(maps)

    def classify(
        self, feature_maps: Sequence[jax.Array]
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        """Pooled features and logits of each exit's map."""
        features = tuple(map(global_average_pool, feature_maps))
        logits = tuple(dense(feature) for dense, feature in zip(self.dense, features, strict=True))
        return features, logits
