"""OKDDip: peers that share a trunk weigh each other by attention, and a leader learns from all."""

import dataclasses
from typing import ClassVar, Unpack

import jax
import jax.numpy as jnp

from skdsam_jax import losses
from skdsam_jax.batch import Batch, Moment
from skdsam_jax.methods.base import (
    ExitOutputs,
    Frozen,
    Memory,
    Method,
    MethodOptions,
    Terms,
    named,
)
from skdsam_jax.models import Backbone, PeerOutputs, Peers, Settings, global_average_pool
from skdsam_jax.options import number, option


@dataclasses.dataclass(frozen=True)
class OkddipOptions(MethodOptions):
    """Settings of `losses.okddip_loss`, how many peers there are and how long they warm up."""

    name: str = named("okddip")
    weight: float = number(1.0, "of both divergences, once it is ramped up", minimum=0)
    temperature: float = number(3.0, "softens the distilled distributions", above=0)
    stop_gradient: bool = option(False, "keep gradients from those who teach")
    peers: int = option(3, "copies of the deepest stage beside the leader's", minimum=2)
    ramp_up_epochs: int = option(
        80, "epochs in which the weight grows, at most a third of all", minimum=1
    )


class Okddip(Method):
    """Online distillation with diverse peers (Chen et al., AAAI 2020, arXiv:1912.00350).

    The leader is the network itself; its peers are copies of the deepest stage on the shared rest.
    Peers are measured as shallow exits, and gone at inference.

    Attributes:
      peers: stages -> the peers' logits, features, queries and keys.
    """

    Options: ClassVar = OkddipOptions
    loss_function = staticmethod(losses.okddip_loss)
    copies_stages = True

    def add_layers(
        self, backbone: Backbone, num_classes: int, **settings: Unpack[Settings]
    ) -> None:
        """The peers."""
        self.peers = Peers(backbone, num_classes, peers=self.options.peers, **settings)

    def exit_outputs(self, stages: tuple[jax.Array, ...], *, train: bool) -> ExitOutputs:
        """What the peers compute, and the leader last."""
        return self._exits(stages, train=train)[0]

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.okddip_loss` with the weight of the epoch."""
        stages = self.classifier.backbone(batch.images, train=True)
        outputs, peers = self._exits(stages, train=True)
        *_, leader = outputs.logits
        ramp = ramp_up(batch.moment, self.options.ramp_up_epochs)
        settings = self.loss_settings | {"weight": self.options.weight * ramp}
        scalar, terms = losses.okddip_loss(
            peers.logits, leader, peers.queries, peers.keys, batch.labels, **settings
        )
        return scalar, (terms, outputs)

    def _exits(
        self, stages: tuple[jax.Array, ...], *, train: bool
    ) -> tuple[ExitOutputs, PeerOutputs]:
        peers = self.peers(stages, train=train)
        feature = global_average_pool(stages[-1])
        leader = self.classifier.dense(feature)
        return ExitOutputs((*peers.logits, leader), (*peers.features, feature)), peers


def ramp_up(moment: Moment, epochs: int) -> jax.Array:
    """exp(-5 (1 - min(t, R) / R)^2) in epoch t.

    R is `epochs`, or a third of all epochs, rounded up, if that is less.
    """
    length = jnp.minimum(epochs, (moment.epochs + 2) // 3)
    share = jnp.minimum(moment.epoch, length) / length
    return jnp.exp(-5 * jnp.square(1 - share))
