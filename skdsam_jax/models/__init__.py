"""Networks: backbones that return their stages, and the exits that hang on them.

A new backbone is one file here, with the attributes of `exits.Backbone`, and one line in the table
below.
"""

import functools
from collections.abc import Callable
from typing import Any

from skdsam_jax.models.exits import HEADS, Backbone, Classifier, ShallowExits
from skdsam_jax.models.heads import (
    AttentionLink,
    BottleneckHead,
    Projection,
    SepConv,
    SepConvHead,
)
from skdsam_jax.models.initialization import initialize
from skdsam_jax.models.layers import global_average_pool
from skdsam_jax.models.options import ModelOptions
from skdsam_jax.models.resnet import BasicBlock, BottleneckBlock, ResNet
from skdsam_jax.options import ConfigError, known

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "resnet18": functools.partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": functools.partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": functools.partial(ResNet, BottleneckBlock, (3, 4, 6, 3)),
}

__all__ = [
    "BACKBONES",
    "HEADS",
    "AttentionLink",
    "Backbone",
    "BottleneckHead",
    "Classifier",
    "ModelOptions",
    "Projection",
    "SepConv",
    "SepConvHead",
    "ShallowExits",
    "create_backbone",
    "global_average_pool",
    "initialize",
]


def create_backbone(name: str, *, width: int = 64, **settings: Any) -> Backbone:
    """Builds a backbone.

    Args:
      name: a name of `BACKBONES`.
      width: its number of filters; see `exits.Backbone`.
      **settings: `dtype` (what it computes in, float32 by default), `param_dtype` (what its
        parameters are kept in, float32 by default) and `rngs`.

    Returns:
      The network, with freshly initialised parameters.

    Raises:
      ConfigError: no backbone has that name.
    """
    if name not in BACKBONES:
        raise ConfigError(f"config.model.name: unknown backbone {name!r}; {known(name, BACKBONES)}")
    return BACKBONES[name](width=width, **settings)
