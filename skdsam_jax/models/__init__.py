"""Networks: backbones that return their stages, and the exits that hang on them.

A new backbone is one file here, with what `backbone.Backbone` asks for, and one line in the
table below.
"""

import functools
import re
from collections.abc import Callable
from typing import Unpack

from skdsam_jax.models.backbone import Backbone, rectified
from skdsam_jax.models.branches import last_stage_whole, one_block_each, whole_stages
from skdsam_jax.models.densenet import DenseNet
from skdsam_jax.models.dianet import DIAResNet
from skdsam_jax.models.exits import HEADS, Classifier, ShallowExits
from skdsam_jax.models.heads import BottleneckHead, BranchHead, Projection
from skdsam_jax.models.initialization import initialize
from skdsam_jax.models.layers import Dense, global_average_pool, use_convolution
from skdsam_jax.models.mixskd_parts import Discriminator, FusionHead
from skdsam_jax.models.options import ModelOptions
from skdsam_jax.models.own_backbone import OwnBackbone, create_own_backbone
from skdsam_jax.models.peers import PeerOutputs, Peers
from skdsam_jax.models.resnet import (
    BasicBlock,
    Block8x64d,
    Block32x4d,
    BottleneckBlock,
    ResNet,
)
from skdsam_jax.models.san import SAN
from skdsam_jax.models.self_teacher import SelfTeacher
from skdsam_jax.models.sepconv import AttentionLink, SepConv, SepConvHead
from skdsam_jax.models.settings import Settings
from skdsam_jax.models.stems import STEMS
from skdsam_jax.models.wide_resnet import WideResNet
from skdsam_jax.options import ConfigError, find
from skdsam_jax.references import find_reference, is_reference

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "resnet18": functools.partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": functools.partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": functools.partial(ResNet, BottleneckBlock, (3, 4, 6, 3)),
    "dia_resnet18": functools.partial(DIAResNet, BasicBlock, (2, 2, 2, 2)),
    "dia_resnet34": functools.partial(DIAResNet, BasicBlock, (3, 4, 6, 3)),
    "dia_resnet50": functools.partial(DIAResNet, BottleneckBlock, (3, 4, 6, 3)),
    "resnext29_8x64d": functools.partial(ResNet, Block8x64d, (3, 3, 3)),
    "resnext50_32x4d": functools.partial(ResNet, Block32x4d, (3, 4, 6, 3)),
    "densenet121": functools.partial(DenseNet, (6, 12, 24, 16)),
    "densenet169": functools.partial(DenseNet, (6, 12, 32, 32)),
    "densenet201": functools.partial(DenseNet, (6, 12, 48, 32)),
    "san10": functools.partial(SAN, (2, 1, 2, 4, 1)),
    "san15": functools.partial(SAN, (3, 2, 3, 5, 2)),
    "san19": functools.partial(SAN, (3, 3, 4, 6, 3)),
    "wrn16_2": functools.partial(WideResNet, 16, 2),
    "wrn40_2": functools.partial(WideResNet, 40, 2),
    "wrn28_10": functools.partial(WideResNet, 28, 10),
}

# Options of some backbones, and how the names of these begin.
_OWN_OPTIONS = {"dia_reduction": "dia_", "san_kind": "san"}

_WIDE_RESNET = re.compile(r"wrn([1-9]\d*)_([1-9]\d*)")

__all__ = [
    "BACKBONES",
    "HEADS",
    "STEMS",
    "AttentionLink",
    "Backbone",
    "BottleneckHead",
    "BranchHead",
    "Classifier",
    "Dense",
    "Discriminator",
    "FusionHead",
    "ModelOptions",
    "OwnBackbone",
    "PeerOutputs",
    "Peers",
    "Projection",
    "SelfTeacher",
    "SepConv",
    "SepConvHead",
    "Settings",
    "ShallowExits",
    "create_backbone",
    "find_backbone",
    "global_average_pool",
    "initialize",
    "last_stage_whole",
    "one_block_each",
    "rectified",
    "use_convolution",
    "whole_stages",
]


def find_backbone(name: str) -> Callable[..., Backbone]:
    """What builds the backbone called `name`: of `BACKBONES`, wrn<depth>_<widening> or module:Name.

    Raises:
      ConfigError: no backbone has that name.
    """
    if is_reference(name):
        constructor = find_reference(name, "config.model.name")
        return functools.partial(create_own_backbone, name, constructor)
    if name not in BACKBONES and (match := _WIDE_RESNET.fullmatch(name)):
        return functools.partial(WideResNet, *map(int, match.groups()))
    also = ("wrn<depth>_<widening>", "module:Name")
    return find(BACKBONES, name, "config.model.name", kind="backbone", also=also, every=True)


def create_backbone(
    name: str,
    *,
    width: int | None = None,
    stem: str = "small",
    dia_reduction: int | None = None,
    san_kind: str | None = None,
    **settings: Unpack[Settings],
) -> Backbone:
    """Builds a backbone; the arguments but `settings` are fields of `ModelOptions`.

    Args:
      name: a name of `BACKBONES`, wrn<depth>_<widening>, or module:Name of the user's own; see
        `own_backbone.create_own_backbone`.
      width: filters of its stem, of which all other widths are multiples; None: its own, 64, or 16
        in a wide residual network.
      stem: "small" or, for large images and if the backbone has it, "imagenet"; see `stems.Stem`.
      dia_reduction: of a DIANet, see `DIAResNet`; None: its own.
      san_kind: of a SAN, see `SAN`; None: its own.
      **settings: see `Settings`.

    Returns:
      The network, with freshly initialised parameters.

    Raises:
      ConfigError: no backbone has that name, or this one not that width, stem or option.
    """
    constructor = find_backbone(name)
    own = {"dia_reduction": dia_reduction, "san_kind": san_kind}
    given = {option: value for option, value in own.items() if value is not None}
    for option, value in () if is_reference(name) else given.items():
        if not name.startswith(_OWN_OPTIONS[option]):
            takers = [other for other in BACKBONES if other.startswith(_OWN_OPTIONS[option])]
            raise ConfigError(
                f"config.model.{option}: takes None with {name}, not {value!r}; it is an option of "
                f"{', '.join(takers)}"
            )
    if width is not None:
        given["width"] = width
    return constructor(stem=stem, **given, **settings)
