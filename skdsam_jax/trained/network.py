"""A trained network: its arrays, and what makes answers of them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from skdsam_jax import older_runs
from skdsam_jax.data.augmentation.augment import normalize
from skdsam_jax.models import Classifier, ModelOptions, create_backbone, use_convolution
from skdsam_jax.models.variables import Functional, Tree
from skdsam_jax.options import build
from skdsam_jax.trained.preparation import Picture
from skdsam_jax.trained.record import NetworkRecord

if TYPE_CHECKING:
    from skdsam_jax.methods import Method


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A network as a run left it; `load` makes it.

    Attributes:
      config: of the run, nested plain values as in `config.json`.
      record: what its images are and what its classes are called.
      step: the training steps behind it.
      params: trainable variables of the whole method, nested dicts; `params["classifier"]` is the
        network at inference. Of a run that keeps an average of its weights they are that average,
        unless `load` was asked for the raw ones.
      model_state: the method's other variables, such as running averages.
      params_digest: SHA-256 of the run's variables, their average if it keeps one, and what the
        method remembers, as in `summary.json`.
      dtype: what it computes in.
    """

    config: Mapping[str, Any]
    record: NetworkRecord
    step: int
    params: Tree
    model_state: Tree
    params_digest: str
    dtype: jnp.dtype

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class, in the order of the logits."""
        return self.record.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.record.image_shape

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of pixels scaled to [0, 1]; `logits` subtracts it."""
        return self.record.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of pixels scaled to [0, 1]; `logits` divides by it."""
        return self.record.std

    def prepare(self, picture: Picture) -> np.ndarray:
        """Makes an image for `logits` of a picture, as evaluation did; see `Preparation`.

        Args:
          picture: a file's path or its bytes, or a picture that Pillow has opened.

        Returns:
          uint8, of `image_shape`.

        Raises:
          ConfigError: it is no picture, or damaged; the message names its file.
        """
        return self.record.preparation(picture)

    def logits(self, images: np.ndarray | jax.Array) -> jax.Array:
        """The deepest exit's logits, with running statistics. Compiles once per batch size.

        Args:
          images: uint8 [batch, height, width, channels], not normalised.

        Returns:
          Floating [batch, classes], in at least float32.

        Raises:
          ValueError: images of another type or shape.
        """
        shape, kind = np.shape(images), getattr(images, "dtype", type(images).__name__)
        if kind != np.uint8 or len(shape) != 4 or shape[1:] != self.image_shape:
            wanted = ", ".join(map(str, self.image_shape))
            raise ValueError(
                f"images: takes uint8 [batch, {wanted}] from 0 to 255, not {kind} {list(shape)}"
            )
        return self._logits(self.params["classifier"], self.model_state["classifier"], images)

    def predict(self, images: np.ndarray | jax.Array) -> jax.Array:
        """The probabilities softmax(logits), floating [batch, classes]; see `logits`."""
        return jax.nn.softmax(self.logits(images))

    @functools.cached_property
    def classifier(self) -> Classifier:
        """The network at inference: normalised images -> logits; holds copies of the arrays."""
        return self.network.merge(self.params["classifier"], self.model_state["classifier"])

    def method(self) -> "Method":
        """The whole method, with its exits; holds copies of the arrays."""
        return self.method_network.merge(self.params, self.model_state)

    @functools.cached_property
    def method_network(self) -> Functional["Method"]:
        """The whole method as a pure function of its variables."""
        # Methods may start from a trained network, so they stand above this module.
        from skdsam_jax.methods import create_method, current_name, find_method

        values = self.config["method"]
        name = current_name(values["name"])
        options = build(find_method(name).Options, {**values, "name": name}, "config.method")
        cap = self.config["model"]["head_width_cap"]

        def create(rngs: nnx.Rngs) -> "Method":
            backbone, settings = self._backbone(rngs), self._settings(rngs)
            classes = len(self.class_names)
            method = create_method(options, backbone, classes, head_width_cap=cap, **settings)
            use_convolution(method, self._model.form_of_convolution)
            return method

        return Functional(create)

    @functools.cached_property
    def network(self) -> Functional[Classifier]:
        """The network at inference as a pure function of its variables."""

        def create(rngs: nnx.Rngs) -> Classifier:
            backbone, settings = self._backbone(rngs), self._settings(rngs)
            classifier = Classifier(backbone, len(self.class_names), **settings)
            use_convolution(classifier, self._model.form_of_convolution)
            return classifier

        return Functional(create)

    @functools.cached_property
    def _logits(self) -> Callable[[Tree, Tree, jax.Array], jax.Array]:
        @jax.jit
        def compute(params: Tree, model_state: Tree, images: jax.Array) -> jax.Array:
            classifier = self.network.merge(params, model_state)
            return classifier(normalize(images, self.mean, self.std, self.dtype))

        return compute

    def _backbone(self, rngs: nnx.Rngs) -> nnx.Module:
        return create_backbone(**self._model.of_backbone(), **self._settings(rngs))

    @property
    def _model(self) -> ModelOptions:
        # A run of an earlier version lacks the newest fields.
        return build(ModelOptions, older_runs.complete(self.config)["model"], "config.model")

    def _settings(self, rngs: nnx.Rngs) -> dict[str, Any]:
        param_dtype = self.params["classifier"]["dense"]["bias"].dtype
        return {"dtype": self.dtype, "param_dtype": param_dtype, "rngs": rngs}
