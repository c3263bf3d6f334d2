"""The interface every training method implements."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Unpack

import jax
from flax import nnx

from skdsam_jax.batch import Batch
from skdsam_jax.models import Backbone, Classifier, Settings, ShallowExits, global_average_pool
from skdsam_jax.options import option
from skdsam_jax.reads import Reads, once

# Name of a loss term to its values per example: [batch], or [exits, batch]. A term of another
# length than the batch is logged as its mean.
Terms = dict[str, jax.Array]

# Nested dicts of arrays: what a method keeps from step to step, or a network it only reads.
Memory = dict[str, Any]
Frozen = dict[str, Any]


class ExitOutputs(NamedTuple):
    """What a network computes at its exits for the anchors of a batch, shallow to deep.

    Attributes:
      logits: one array [batch, classes] per exit.
      features: one array [batch, D] per exit, pooled.
      projections: one array [batch, D] per exit where the method attends, otherwise None.
      attention: [C-1, batch], how much each shallow exit counts; None without attention.
      others: name to logits [batch, classes] of what else predicts the classes, such as an
        ensemble or a self-teacher; measured beside the exits.
    """

    logits: tuple[jax.Array, ...]
    features: tuple[jax.Array, ...]
    projections: tuple[jax.Array, ...] | None = None
    attention: jax.Array | None = None
    others: Mapping[str, jax.Array] = {}


class TrainingSet(NamedTuple):
    """What a method may know of the set before it trains.

    Attributes:
      labels: int32 [examples].
      num_classes: the number of classes.
      batch_size: anchors per step.
    """

    labels: jax.Array
    num_classes: int
    batch_size: int


class ImageSet(NamedTuple):
    """What a method may know of the images that it is trained on.

    Attributes:
      name: of the set.
      class_names: in the order of the labels.
      shape: height, width and channels of what the network is given.
      mean: per channel, of pixels scaled to [0, 1]; images are normalised with it.
      std: per channel, of pixels scaled to [0, 1].
    """

    name: str
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def named(name: str) -> Any:
    """The field `name` of a method's options."""
    return option(name, "the method, a name of the table in `skdsam_jax.methods`, or module:Name")


@dataclasses.dataclass(frozen=True)
class MethodOptions:
    """What every method's options share; the fields of `config.method`."""

    name: str = named("")


class Method(nnx.Module):
    """A network together with the loss that trains it.

    A method owns the classifier that is left at inference, the exits that hang on it while it
    trains, and whatever else its loss needs. A new one sets `Options` and `loss_function` and
    implements `objective`; that is all for a method that reads the exits of one batch. What more
    one may do, each with a default:

    * `shallow_exits`: which exits hang on the stages.
    * `add_layers`: what else it trains.
    * `reads`: which examples it reads beside each anchor.
    * `initial_memory` and `remember`: what it keeps from one step to the next.
    * `resolve` and `frozen`: a network that it reads and does not train.
    * `outputs` and `loss`: where its loss reads more than the exits of the anchors.

    Attributes:
      Options: the dataclass of this method's settings.
      loss_function: the function of `skdsam_jax.losses` that `objective` calls. A setting with the
        name of one of its keywords has that keyword's default.
      takes_soft_labels: whether labels may be probabilities, as Mixup makes them.
      minimum_batch: the fewest anchors that a step makes sense of.
      copies_stages: whether it asks the backbone for `branch`, which not all have.
      options: this network's settings.
      classifier: backbone and deepest dense layer: images -> logits.
      exits: the shallow exits, or None.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    loss_function: ClassVar[Callable[..., tuple[jax.Array, Terms]]]
    takes_soft_labels: ClassVar[bool] = True
    minimum_batch: ClassVar[int] = 1
    copies_stages: ClassVar[bool] = False

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        options: MethodOptions | None = None,
        *,
        head_width_cap: int | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Builds the classifier, the shallow exits and the layers of the method's own.

        Args:
          backbone: the network whose stages become exits.
          num_classes: the number of classes.
          options: an instance of `Options`; None: its defaults.
          head_width_cap: the most features within a shallow head.
          **settings: see `Settings`.
        """
        self.options = self.Options() if options is None else options
        self.classifier = Classifier(backbone, num_classes, **settings)
        exits = self.shallow_exits(self.options, len(backbone.channels))
        self.exits = (
            None
            if exits is None
            else ShallowExits(backbone, num_classes, width_cap=head_width_cap, **exits, **settings)
        )
        self.add_layers(backbone, num_classes, **settings)

    def add_layers(
        self, backbone: Backbone, num_classes: int, **settings: Unpack[Settings]
    ) -> None:
        """Creates layers of the method's own, as attributes: none.

        They are trained with the network and no part of what is left of it. `options`, `classifier`
        and `exits` are there already. A method derived from one with layers calls its `add_layers`
        first.

        Args:
          backbone: the network that the method is about.
          num_classes: the number of classes.
          **settings: see `Settings`.
        """

    @classmethod
    def shallow_exits(cls, options: MethodOptions, stages: int) -> Mapping[str, Any] | None:
        """Which exits hang on `stages` stages, as arguments of `ShallowExits`; None: no exits."""
        return None

    @classmethod
    def reads(cls, options: MethodOptions) -> Reads:
        """Which examples are read beside each anchor: none."""
        return once

    @classmethod
    def images_per_anchor(cls, options: MethodOptions) -> int:
        """How many images the backbone reads in a step for each anchor: its reads."""
        return cls.reads(options).count

    @classmethod
    def resolve(cls, options: MethodOptions) -> MethodOptions:
        """The options of a run that begins now, after a look at what they point to.

        Raises:
          ConfigError: they point to something that cannot be used.
        """
        return options

    @classmethod
    def frozen(cls, options: MethodOptions, images: ImageSet) -> Frozen:
        """Networks that the loss reads and nothing changes: arguments of the training step.

        Their parameters are not trained, decayed, counted or checkpointed.

        Args:
          options: resolved.
          images: what is trained on.

        Raises:
          ConfigError: they cannot serve this set.
        """
        return {}

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

    def objective(self, outputs: ExitOutputs, batch: Batch) -> tuple[jax.Array, Terms]:
        """The batch's loss, a scalar, and the named terms [.., batch] it is made of."""
        raise TypeError(f"{type(self).__name__} has no objective")

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """The training loss of one batch.

        Args:
          batch: what `reads` asked for, augmented and normalised.
          memory: as `remember` left it.
          frozen: as `frozen` gave it.

        Returns:
          The scalar to minimise; its terms per example, and the exits' outputs for the anchors.
        """
        outputs = self.outputs(batch.images, train=True)
        scalar, terms = self.objective(outputs, batch)
        return scalar, (terms, outputs)

    def initial_memory(self, training_set: TrainingSet) -> Memory:
        """What there is to remember before the first step: nothing.

        Memory is part of a run: it is checkpointed and restored bit by bit, and no part of the
        network that is left.
        """
        return {}

    def remember(
        self, memory: Memory, batch: Batch, outputs: ExitOutputs, taken: jax.Array
    ) -> Memory:
        """What there is to remember after a step.

        Args:
          memory: before the step.
          batch: the step's.
          outputs: that `loss` returned.
          taken: bool, whether the step was taken. One whose numbers were not finite was not, and
            must leave the memory as it is.

        Returns:
          Arrays of the same shapes and types. Rows of a large one are best replaced by `.at[]`,
          which is done in place.
        """
        return memory

    @property
    def loss_settings(self) -> dict[str, Any]:
        """The options that `loss_function` takes by keyword."""
        names = loss_keywords(type(self))
        return {name: getattr(self.options, name) for name in names}


def loss_keywords(method: type[Method]) -> dict[str, Any]:
    """The keywords of a method's loss function that are options of the method, with defaults."""
    fields = {field.name for field in dataclasses.fields(method.Options)}
    parameters = inspect.signature(method.loss_function).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name in fields
    }
