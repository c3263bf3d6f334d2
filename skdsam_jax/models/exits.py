"""The exits of a network: the deepest, which is left at inference, and the shallow ones."""

from typing import Any, Protocol

import jax
from flax import nnx

from skdsam_jax.models.heads import BottleneckHead, SepConvHead
from skdsam_jax.models.layers import Dense, global_average_pool

HEADS = ("sepconv", "bottleneck")


class Backbone(Protocol):
    """What exits ask of a backbone, which is an `nnx.Module`.

    Attributes:
      width: its number of filters before any multiplication, 64 in an ordinary ResNet.
      channels: features of each stage's output, shallow to deep.
      reductions: pixels of the input per pixel of each stage, along one side; each twice the last.
      preactivation: whether all stages but the last hand on raw sums, which heads then have to
        normalise and rectify; the last stage is always what the deepest exit pools.
    """

    width: int
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
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        head: str = "sepconv",
        links: bool = True,
        **settings: Any,
    ) -> None:
        """Creates the exits.

        Args:
          backbone: the network they hang on; only its attributes are read.
          num_classes: the number of classes.
          head: "sepconv" (`SepConvHead`, of SKDSAM) or "bottleneck" (`BottleneckHead`, of BYOT and
            PD-BYOT, twice as wide as the backbone's `width`).
          links: whether SepConv heads mask their input with an `AttentionLink`.
          **settings: `dtype`, `param_dtype` and `rngs`.

        Raises:
          ValueError: `head` is neither of the two.
        """
        if head not in HEADS:
            raise ValueError(f"head: takes one of {', '.join(HEADS)}, not {head!r}")
        settings_of_head = {"preactivation": backbone.preactivation, **settings}
        channels, deepest = backbone.channels, backbone.channels[-1]
        self.heads = nnx.List()
        for stage, reduction in enumerate(backbone.reductions[:-1]):
            if head == "sepconv":
                built = SepConvHead(channels[stage:], link=links, **settings_of_head)
            else:
                left = backbone.reductions[-1] // reduction
                built = BottleneckHead(
                    channels[stage], 2 * backbone.width, deepest, left, **settings_of_head
                )
            self.heads.append(built)
        self.dense = nnx.List(Dense(deepest, num_classes, **settings) for _ in self.heads)

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
        """
        features = tuple(
            head(stage, train=train) for head, stage in zip(self.heads, stages[:-1], strict=True)
        )
        logits = tuple(dense(feature) for dense, feature in zip(self.dense, features, strict=True))
        return features, logits
