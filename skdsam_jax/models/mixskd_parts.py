"""What MixSKD adds to exits that hand on maps: an ensemble of them and its discriminators.

Yang et al., https://arxiv.org/abs/2208.05768.
"""

from collections.abc import Sequence
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models.layers import Conv, Dense, global_average_pool
from skdsam_jax.models.operations import relu
from skdsam_jax.models.settings import Settings


class FusionHead(nnx.Module):
    """The logits of the feature maps of all exits together.

        logits = dense(mean over pixels of conv1x1(concat(G_1, .., G_K)))

    without bias, normalisation or activation between: linear in the maps.

    Attributes:
      conv: K D features -> D.
      dense: pooled features -> logits.
    """

    def __init__(
        self, features: int, maps: int, num_classes: int, **settings: Unpack[Settings]
    ) -> None:
        """Creates the head of `maps` maps of D = `features` features each."""
        self.conv = Conv(maps * features, features, 1, **settings)
        self.dense = Dense(features, num_classes, **settings)

    def __call__(self, feature_maps: Sequence[jax.Array]) -> jax.Array:
        """Logits [batch, num_classes], in at least float32, of K maps [batch, height, width, D]."""
        fused = self.conv(jnp.concatenate(feature_maps, axis=-1))
        return self.dense(global_average_pool(fused))


class Discriminator(nnx.Module):
    """Tells maps of mixed images from mixed maps of images.

        scores = W2 relu(W1 (mean over pixels of G) + b1) + b2

    Attributes:
      inner: pooled features [batch, D] -> [batch, hidden].
      outer: [batch, hidden] -> two scores.
    """

    def __init__(self, features: int, *, hidden: int = 128, **settings: Unpack[Settings]) -> None:
        """Creates the discriminator of maps of D = `features` features."""
        self.inner = Dense(features, hidden, **settings)
        self.outer = Dense(hidden, 2, **settings)

    def __call__(self, feature_map: jax.Array) -> jax.Array:
        """Scores [batch, 2], in at least float32, of a map [batch, height, width, D]."""
        return self.outer(relu(self.inner(global_average_pool(feature_map))))
