"""OKDDip's peers: copies of the deepest stage, each with logits of its own.

Chen et al., https://arxiv.org/abs/1912.00350, with branches that share a trunk.
"""

from typing import NamedTuple, Unpack

import jax
from flax import nnx

from skdsam_jax.models.backbone import Backbone
from skdsam_jax.models.layers import Dense, global_average_pool
from skdsam_jax.models.settings import Settings


class PeerOutputs(NamedTuple):
    """What the peers compute, one array for each.

    Attributes:
      logits: [batch, num_classes].
      features: [batch, D], pooled.
      queries: [batch, D / 8], what a peer compares the others with.
      keys: [batch, D / 8], what it is compared by.
    """

    logits: tuple[jax.Array, ...]
    features: tuple[jax.Array, ...]
    queries: tuple[jax.Array, ...]
    keys: tuple[jax.Array, ...]


class Peers(nnx.Module):
    """Copies of the deepest stage, which read what it reads.

    Attributes:
      branches: of each peer, output of the last stage but one -> map like the deepest one's.
      dense: of each peer, features -> logits.
      query, key: features -> embedding, without bias; shared by all peers.
    """

    def __init__(
        self, backbone: Backbone, num_classes: int, *, peers: int = 3, **settings: Unpack[Settings]
    ) -> None:
        """Creates as many `peers` of the deepest stage of `backbone`, which is the leader's."""
        features = backbone.channels[-1]
        embedding = max(features // 8, 1)
        shared = len(backbone.channels) - 2
        self.branches = nnx.List(backbone.branch(shared, **settings) for _ in range(peers))
        self.dense = nnx.List(Dense(features, num_classes, **settings) for _ in range(peers))
        self.query = Dense(features, embedding, use_bias=False, **settings)
        self.key = Dense(features, embedding, use_bias=False, **settings)

    def __call__(self, stages: tuple[jax.Array, ...], *, train: bool) -> PeerOutputs:
        """What the peers make of a backbone's outputs."""
        features = tuple(
            global_average_pool(branch(stages[-2], train=train)) for branch in self.branches
        )
        logits = tuple(dense(feature) for dense, feature in zip(self.dense, features, strict=True))
        queries, keys = (tuple(map(embed, features)) for embed in (self.query, self.key))
        return PeerOutputs(logits, features, queries, keys)
