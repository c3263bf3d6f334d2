"""Exact numbers of trainable parameters; nothing is allocated."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from skdsam_jax.models import (
    BACKBONES,
    Classifier,
    Projection,
    ShallowExits,
    create_backbone,
)

CLASSES = 100

# Counts of a public PyTorch implementation of the same networks, 100 classes, width 64.
BACKBONE_PARTS = {
    "resnet18": (1_728, 128, 147_968, 525_568, 2_099_712, 8_393_728),
    "resnet34": (1_728, 128, 221_952, 1_116_416, 6_822_400, 13_114_368),
    "resnet50": (1_728, 128, 215_808, 1_219_584, 7_098_368, 14_964_736),
}
NARROW = ((268_800, 254_976, 202_752), (9_728, 35_840, 137_216), 51_300)
WIDE = ((4_171_776, 3_969_024, 3_170_304), (137_216, 536_576, 2_121_728), 204_900)
SEPCONV_PARTS = {"resnet18": NARROW, "resnet34": NARROW, "resnet50": WIDE}
TOTALS = {
    "resnet18": (12_283_344, 14_388_688, 11_220_132),
    "resnet34": (22_391_504, 24_496_848, 21_328_292),
    "resnet50": (38_426_576, 72_013_776, 23_705_252),
}
BOTTLENECKS = {"resnet18": (1_123_840, 345_600, 165_376)}


def abstract(build: Callable[[nnx.Rngs], nnx.Module]) -> nnx.Module:
    return nnx.eval_shape(lambda: build(nnx.Rngs(0)))


def count(module: nnx.Module) -> int:
    variables = jax.tree.leaves(nnx.state(module, nnx.Param))
    return sum(math.prod(variable.shape) for variable in variables)


def build_backbone(name: str) -> nnx.Module:
    return abstract(lambda rngs: create_backbone(name, rngs=rngs))


def build_exits(name: str, **options: object) -> ShallowExits:
    return abstract(lambda rngs: ShallowExits(build_backbone(name), CLASSES, **options, rngs=rngs))


def test_every_backbone_is_counted():
    assert set(BACKBONE_PARTS) == set(SEPCONV_PARTS) == set(TOTALS) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONE_PARTS)
def test_backbone(name):
    backbone = build_backbone(name)
    stem = backbone.stem
    counts = (count(stem.conv), count(stem.norm), *(count(stage) for stage in backbone.stages))
    assert counts == BACKBONE_PARTS[name]


@pytest.mark.parametrize("name", SEPCONV_PARTS)
def test_sepconv_heads_and_links(name):
    exits = build_exits(name)
    links = tuple(count(head.link) for head in exits.heads)
    heads = tuple(count(head) - link for head, link in zip(exits.heads, links, strict=True))
    dense = {count(dense) for dense in exits.dense}
    assert (heads, links, *dense) == SEPCONV_PARTS[name]


def test_heads_without_links():
    assert count(build_exits("resnet18", links=False)) == sum(NARROW[0]) + 3 * NARROW[2]


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_bottleneck_heads(name):
    exits = build_exits(name, head="bottleneck")
    assert tuple(count(head) for head in exits.heads) == BOTTLENECKS[name]


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    backbone = build_backbone(name)
    classifier = count(abstract(lambda rngs: Classifier(backbone, CLASSES, rngs=rngs)))
    projection = count(abstract(lambda rngs: Projection(backbone.channels[-1], rngs=rngs)))
    trained = classifier + count(build_exits(name))
    with_projections = trained + len(backbone.channels) * projection
    assert (trained, with_projections, classifier) == TOTALS[name]


def test_nothing_is_allocated():
    leaves = jax.tree.leaves(nnx.state(build_backbone("resnet50")))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
