"""The exits of a network: the deepest, which is left at inference, and the shallow ones."""

from typing import Any, Protocol

import jax
from flax import nnx

from skdsam_jax.models.heads import BottleneckHead, SepConvHead, capped
from skdsam_jax.models.layers import Dense, global_average_pool
from skdsam_jax.options import ConfigError

HEADS = ("sepconv", "bottleneck")


class Backbone(Protocol):
    """What exits ask of a backbone, which is an `nnx.Module`.

    Attributes:
      bottleneck_width: features within a bottleneck head, 128 in an ordinary ResNet.
      channels: features of each stage's output, shallow to deep.
      reductions: pixels of the input per pixel of each stage, along one side; each twice the last.
      preactivation: whether all stages but the last hand on raw sums, which heads then have to
        normalise and rectify; the last stage is always what the deepest exit pools.
    """

    bottleneck_width: int
    channels: tuple[int, ...]
    reductions: tuple[int, ...]
    preactivation: bool

    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """Maps images [batch, height, width, 3] to one feature map per stage."""
        ...


class Classifier(nnx.Module):
    """The deepest exit: all of the network that inference needs.

        logits = dense(mean over pixels of backbone(images)[-1])

    Attributes:
      backbone: images -> stages.
      dense: pooled features of the deepest stage -> logits.
    """

    def __init__(self, backbone: Backbone, num_classes: int, **settings: Any) -> None:
        """Creates the classifier; `settings` are `dtype`, `param_dtype` and `rngs`."""
        self.backbone = backbone
        self.dense = Dense(backbone.channels[-1], num_classes, **settings)

    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits [batch, num_classes], in at least float32, of images [batch, height, width, 3]."""
        return self.dense(global_average_pool(self.backbone(images, train=train)[-1]))


class ShallowExits(nnx.Module):
    """A head and a dense layer for every stage but the deepest; thrown away after training.

    Attributes:
      heads: of each shallow stage, its output -> features [batch, D].
      dense: of each shallow stage, features -> logits.
      minimum_image_size: the smallest side of an image, in pixels, that the heads can take.
      minimum_stage_size: that of the first stage.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        head: str = "sepconv",
        links: bool = True,
        width_cap: int | None = None,
        **settings: Any,
    ) -> None:
        """Creates the exits.

        What heads and links end with, D features or a mask, is as wide as it is whatever the cap.

        Args:
          backbone: the network they hang on; only its attributes are read.
          num_classes: the number of classes.
          head: "sepconv" (`SepConvHead`, of SKDSAM) or "bottleneck" (`BottleneckHead`, of BYOT and
            PD-BYOT).
          links: whether SepConv heads mask their input with an `AttentionLink`.
          width_cap: the most features within heads and links.
          **settings: `dtype`, `param_dtype` and `rngs`.

        Raises:
          ValueError: `head` is neither of the two.
        """
        if head not in HEADS:
            raise ValueError(f"head: takes one of {', '.join(HEADS)}, not {head!r}")
        settings_of_head = {"preactivation": backbone.preactivation, **settings}
        channels, deepest = backbone.channels, backbone.channels[-1]
        cap = width_cap
        self.heads = nnx.List()
        for stage, reduction in enumerate(backbone.reductions[:-1]):
            if head == "sepconv":
                built = SepConvHead(channels[stage:], link=links, width_cap=cap, **settings_of_head)
            else:
                width = capped(backbone.bottleneck_width, cap)
                left = backbone.reductions[-1] // reduction
                built = BottleneckHead(channels[stage], width, deepest, left, **settings_of_head)
            self.heads.append(built)
        self.dense = nnx.List(Dense(deepest, num_classes, **settings) for _ in self.heads)
        # A SepConv takes any size; a bottleneck's kernel is as large as a pixel of the last stage.
        first, *_, last = backbone.reductions
        self.minimum_image_size = 1 if head == "sepconv" else last - first + 1
        self.minimum_stage_size = 1 if head == "sepconv" else last // first

    def __call__(
        self, stages: tuple[jax.Array, ...], *, train: bool
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        """What the shallow exits compute.

        Args:
          stages: the backbone's outputs, the deepest included.
          train: normalise by the batch and update the running averages.

        Returns:
          Pooled features [batch, D] and logits [batch, num_classes] of each shallow exit, shallow
          to deep, in at least float32.

        Raises:
          ConfigError: the images are smaller than `minimum_image_size`.
        """
        if min(stages[0].shape[1:3]) < self.minimum_stage_size:
            size = "x".join(map(str, stages[0].shape[1:3]))
            raise ConfigError(
                f"config.data.image_size: these heads take {self.minimum_image_size} pixels or "
                f"more; the first stage has {size}, not {self.minimum_stage_size} a side"
            )
        features = tuple(
            head(stage, train=train) for head, stage in zip(self.heads, stages[:-1], strict=True)
        )
        logits = tuple(dense(feature) for dense, feature in zip(self.dense, features, strict=True))
        return features, logits
