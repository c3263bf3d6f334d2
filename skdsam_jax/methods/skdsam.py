"""SKDSAM: the deepest exit teaches the shallow ones, weighed by attention."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax import attention, losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms, named
from skdsam_jax.models import Backbone, Projection, Settings
from skdsam_jax.options import number, option


@dataclasses.dataclass(frozen=True)
class SkdsamOptions(MethodOptions):
    """Settings of `losses.skdsam_loss`, of the attention and of the heads."""

    name: str = named("skdsam")
    distillation_weight: float = number(1.5, "lambda, weight of the distillation", minimum=0)
    feature_weight: float = number(100.0, "beta, weight of the feature term", minimum=0)
    temperature: float = number(4.0, "T, softens the distilled distributions", above=0)
    attention_temperature: float = number(4.0, "T', softens queries and keys", above=0)
    energy: str = option(
        "softmax_dot", "how a query meets a key; uniform: no attention", choices=attention.ENERGIES
    )
    attention_gradient: str = option(
        "projections",
        "what the attention weights train: the projections, also the features below, or nothing",
        choices=("projections", "full", "none"),
    )
    feature_reduction: str = option(
        "mean",
        "how the feature term reduces D; beta expects the mean",
        choices=("mean", "sum"),
    )
    attention_links: bool = option(True, "multiply a stage by its attention mask before its head")
    label_weight: float | None = number(
        None,
        "mu, weight of the labels in every shallow exit; None: only the deepest learns from them",
        above=0,
    )
    warm_up: float | None = number(
        None,
        "share of the run over which lambda grows from 0 to its value; None: it is there at once",
        above=0,
        maximum=1,
    )


class Skdsam(Method):
    """Self-knowledge distillation with a self-attention mechanism; thesis chapter 3.

    `label_weight` and `warm_up` are no part of the thesis.

    Attributes:
      projections: one module per exit, features -> query (deepest) or key; None if the energy is
        "uniform".
    """

    Options: ClassVar = SkdsamOptions
    loss_function = staticmethod(losses.skdsam_loss)
    # The projections normalise pooled features over the batch.
    minimum_batch = 2

    def add_layers(
        self, backbone: Backbone, num_classes: int, **settings: Unpack[Settings]
    ) -> None:
        """The projections, unless the energy is "uniform"."""
        width = backbone.channels[-1]
        self.projections = (
            None
            if self.options.energy == "uniform"
            else nnx.List(Projection(width, **settings) for _ in backbone.channels)
        )

    @classmethod
    def shallow_exits(cls, options: SkdsamOptions, stages: int) -> Mapping[str, Any]:
        """A chain of separable convolutions on every shallow stage, behind an attention link."""
        return {"head": "sepconv", "links": options.attention_links}

    def exit_outputs(self, stages: tuple[jax.Array, ...], *, train: bool) -> ExitOutputs:
        """What every exit computes, with projections and attention weights."""
        outputs = super().exit_outputs(stages, train=train)
        exits = len(outputs.features)
        if self.projections is None:
            batch = stages[0].shape[0]
            dtype = jnp.promote_types(outputs.logits[-1].dtype, jnp.float32)
            uniform = jnp.full((exits - 1, batch), 1 / (exits - 1), dtype)
            return outputs._replace(attention=uniform)
        gradient = self.options.attention_gradient
        features = outputs.features
        if gradient != "full":
            features = jax.lax.stop_gradient(features)
        projected = tuple(
            project(feature, train=train)
            for project, feature in zip(self.projections, features, strict=True)
        )
        if gradient == "none":
            projected = jax.lax.stop_gradient(projected)
        weights = attention.attention_weights(
            projected[-1],
            projected[:-1],
            temperature=self.options.attention_temperature,
            energy=self.options.energy,
        )
        return outputs._replace(projections=projected, attention=weights)

    def objective(self, outputs: ExitOutputs, batch: Batch) -> tuple[jax.Array, Terms]:
        """`losses.skdsam_loss` of the exits, lambda that of the moment."""
        settings = self.loss_settings
        if self.options.warm_up is not None:
            moment = batch.moment
            settings["distillation_weight"] *= losses.linear_warm_up(
                moment.step, moment.steps, self.options.warm_up
            )
        return losses.skdsam_loss(
            outputs.logits, outputs.features, outputs.projections, batch.labels, **settings
        )
