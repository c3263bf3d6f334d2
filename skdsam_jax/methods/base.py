"""The interface every training method implements."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models import Classifier, ShallowExits, global_average_pool
from skdsam_jax.options import option

# Name of a loss term to its values per example: [batch], or [exits, batch].
Terms = dict[str, jax.Array]


class ExitOutputs(NamedTuple):
    """What a network computes at its exits, shallow to deep.

    Attributes:
      logits: one array [batch, classes] per exit.
      features: one array [batch, D] per exit, pooled.
      projections: one array [batch, D] per exit where the method attends, otherwise None.
      attention: [C-1, batch], how much each shallow exit counts; None without attention.
      aggregated: logits [batch, classes] of several views of each image together; None for a
        method that looks once.
    """

    logits: tuple[jax.Array, ...]
    features: tuple[jax.Array, ...]
    projections: tuple[jax.Array, ...] | None = None
    attention: jax.Array | None = None
    aggregated: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class MethodOptions:
    """What every method's options share; the fields of `config.method`."""

    name: str = option("skdsam", "the method, a name of the table in `skdsam_jax.methods`")


class Method(nnx.Module):
    """A network together with the loss that trains it.

    A method owns the classifier that is left at inference, the exits that hang on it while it
    trains, and whatever else its loss needs. Variables that are not `nnx.Param` (running averages,
    or anything a method keeps from one step to the next) are carried between steps by the training
    step. A new method sets `Options`, builds its modules and implements `objective`; one whose
    loss reads more than the exits of one view of a batch overrides `views`, `outputs` and `loss`.

    Attributes:
      Options: the dataclass of this method's settings.
      options: this network's settings.
      classifier: backbone and deepest dense layer: images -> logits.
      exits: the shallow exits, or None.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions

    def __init__(
        self,
        backbone: nnx.Module,
        num_classes: int,
        options: MethodOptions,
        *,
        head: str | None,
        head_width_cap: int | None = None,
        dtype: Any = jnp.float32,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **head_options: Any,
    ) -> None:
        """Builds the classifier, and shallow exits with heads of the kind `head` unless None."""
        settings = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.options = options
        self.classifier = Classifier(backbone, num_classes, **settings)
        self.exits = (
            None
            if head is None
            else ShallowExits(
                backbone,
                num_classes,
                head=head,
                width_cap=head_width_cap,
                **head_options,
                **settings,
            )
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        """The deepest exit's logits [batch, classes], with running statistics: inference."""
        return self.classifier(images)

    @staticmethod
    def views(images: jax.Array) -> jax.Array:
        """What the backbone reads for images [batch, height, width, channels]: themselves."""
        return images

    def outputs(self, images: jax.Array, *, train: bool) -> ExitOutputs:
        """What every exit computes for images [batch, height, width, channels]."""
        return self.exit_outputs(self.classifier.backbone(images, train=train), train=train)

    def exit_outputs(self, stages: tuple[jax.Array, ...], *, train: bool) -> ExitOutputs:
        """What every exit computes from the backbone's stages."""
        feature = global_average_pool(stages[-1])
        logits = self.classifier.dense(feature)
        if self.exits is None:
            return ExitOutputs((logits,), (feature,))
        shallow_features, shallow_logits = self.exits(stages, train=train)
        return ExitOutputs((*shallow_logits, logits), (*shallow_features, feature))

    def objective(self, outputs: ExitOutputs, labels: jax.Array) -> tuple[jax.Array, Terms]:
        """The batch's loss, a scalar, and the named terms [.., batch] it is made of."""
        raise TypeError(f"{type(self).__name__} has no objective")

    def loss(
        self, images: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """The training loss of one batch.

        Args:
          images: [batch, height, width, channels], augmented and normalised.
          labels: integers [batch], or probabilities [batch, classes].

        Returns:
          The scalar to minimise; its terms per example and the exits' outputs.
        """
        outputs = self.outputs(images, train=True)
        scalar, terms = self.objective(outputs, labels)
        return scalar, (terms, outputs)
