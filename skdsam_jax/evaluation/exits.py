"""The exits of a trained network as pure functions of its variables and uint8 images."""

from typing import Any

import jax

from skdsam_jax.data.augmentation.augment import normalize
from skdsam_jax.methods import ExitOutputs
from skdsam_jax.models import global_average_pool
from skdsam_jax.trained import Trained

Variables = tuple[Any, Any]


class Exits:
    """What every exit of a trained network computes, with running statistics.

    Attributes:
      trained: the network.
      variables: its parameters and other variables, which the functions take.
    """

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        # What is left of a method without exits is its classifier. A method may need more to be
        # built, such as a teacher's folder, than its classifier needs to answer.
        self._whole = set(trained.params) != {"classifier"}
        trees = (trained.params, trained.model_state)
        self.variables: Variables = (
            trees if self._whole else tuple(tree["classifier"] for tree in trees)
        )

    def outputs(self, variables: Variables, images: jax.Array) -> ExitOutputs:
        """What evaluation measures: `Method.outputs` of uint8 images [batch, ...]."""
        return self._compute(variables, images, views=True)

    def logits(self, variables: Variables, images: jax.Array) -> tuple[jax.Array, ...]:
        """Of each exit [batch, classes], of the images as they stand, without further views."""
        return self._compute(variables, images, views=False).logits

    def _compute(self, variables: Variables, images: jax.Array, *, views: bool) -> ExitOutputs:
        trained = self.trained
        images = normalize(images, trained.mean, trained.std, trained.dtype)
        if not self._whole:
            classifier = trained.network.merge(*variables)
            feature = global_average_pool(classifier.backbone(images, train=False)[-1])
            return ExitOutputs((classifier.dense(feature),), (feature,))
        method = trained.method_network.merge(*variables)
        if views:
            return method.outputs(images, train=False)
        return method.exit_outputs(method.classifier.backbone(images, train=False), train=False)
