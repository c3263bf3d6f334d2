"""Exact numbers of trainable parameters; nothing is allocated."""

import functools
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest
from families import abstract, abstract_backbone, count
from flax import nnx

from skdsam_jax.models import BACKBONES, Classifier, Projection, ShallowExits

CLASSES = 100
DOCUMENT = (pathlib.Path(__file__).parents[2] / "docs" / "models.md").read_text()

# Counts of a public PyTorch implementation of the same networks, 100 classes, width 64.
BACKBONE_PARTS = {
    "resnet18": (1_728, 128, 147_968, 525_568, 2_099_712, 8_393_728),
    "resnet34": (1_728, 128, 221_952, 1_116_416, 6_822_400, 13_114_368),
    "resnet50": (1_728, 128, 215_808, 1_219_584, 7_098_368, 14_964_736),
}
NARROW = ((268_800, 254_976, 202_752), (9_728, 35_840, 137_216), 51_300)
WIDE = ((4_171_776, 3_969_024, 3_170_304), (137_216, 536_576, 2_121_728), 204_900)
SEPCONV_PARTS = {"resnet18": NARROW, "resnet34": NARROW, "resnet50": WIDE}
BOTTLENECKS = {"resnet18": (1_123_840, 345_600, 165_376)}

# ResNeXt-29 8x64d, 10 classes: 34.4 million in https://arxiv.org/abs/1611.05431, table 7.
RESNEXT29 = 34_426_698
# With the stem of ImageNet, 1000 classes: what torchvision documents as `num_params`; of SANs what
# their authors' code has, 11.8, 16.2 and 20.5 million in their paper.
IMAGENET = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "resnext50_32x4d": 25_028_904,
    "san10": 11_841_124,
    "san15": 16_181_310,
    "san19": 20_518_470,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
}
# 7x7 filters in the place of 3x3; a DenseNet's small stem has no BN either.
STEMS = (7**2 - 3**2) * 3 * 64
# The recurrent cells of a DIANet, 2.5 C^2 + 8.5 C for C = 64, ..., 512 and 256, ..., 2048.
CELLS, WIDE_CELLS = 878_560, 13_959_040
# With the small stem, 100 classes. ResNets: as above. Wide residual networks and DenseNet-121:
# public PyTorch implementations for CIFAR-100.
CLASSIFIERS = {
    "resnet18": 11_220_132,
    "resnet34": 21_328_292,
    "resnet50": 23_705_252,
    "dia_resnet18": 11_220_132 + CELLS,
    "dia_resnet34": 21_328_292 + CELLS,
    "dia_resnet50": 23_705_252 + WIDE_CELLS,
    "resnext29_8x64d": RESNEXT29 + 90 * (1024 + 1),
    "resnext50_32x4d": IMAGENET["resnext50_32x4d"] - 900 * (2048 + 1) - STEMS,
    "densenet121": 7_048_548,
    "densenet169": IMAGENET["densenet169"] - 900 * (1664 + 1) - STEMS - 2 * 64,
    "densenet201": IMAGENET["densenet201"] - 900 * (1920 + 1) - STEMS - 2 * 64,
    "san10": IMAGENET["san10"] - 900 * (2048 + 1),
    "san15": IMAGENET["san15"] - 900 * (2048 + 1),
    "san19": IMAGENET["san19"] - 900 * (2048 + 1),
    "wrn16_2": 703_284,
    "wrn40_2": 2_255_156,
    "wrn28_10": 36_536_884,
}
# The public counts of ResNet-18, 34 and 50 with all exits, and with projections.
TRAINED = {
    "resnet18": (12_283_344, 14_388_688),
    "resnet34": (22_391_504, 24_496_848),
    "resnet50": (38_426_576, 72_013_776),
}


@functools.cache
def count_classifier(name: str, classes: int = CLASSES, **options: object) -> int:
    backbone = abstract_backbone(name, **options)
    return count(abstract(lambda rngs: Classifier(backbone, classes, rngs=rngs)))


def build_exits(name: str, **options: object) -> ShallowExits:
    backbone = abstract_backbone(name)
    return abstract(lambda rngs: ShallowExits(backbone, CLASSES, **options, rngs=rngs))


def count_projections(name: str) -> int:
    channels = abstract_backbone(name).channels
    return len(channels) * count(abstract(lambda rngs: Projection(channels[-1], rngs=rngs)))


def test_every_backbone_is_counted():
    assert set(CLASSIFIERS) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONE_PARTS)
def test_backbone(name):
    backbone = abstract_backbone(name)
    stem = backbone.stem
    counts = (count(stem.conv), count(stem.norm), *(count(stage) for stage in backbone.stages))
    assert counts == BACKBONE_PARTS[name]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier(name):
    assert count_classifier(name) == CLASSIFIERS[name]


@pytest.mark.parametrize("name", IMAGENET)
def test_classifier_for_imagenet(name):
    assert count_classifier(name, classes=1000, stem="imagenet") == IMAGENET[name]


def test_resnext29_has_the_size_that_its_authors_print():
    assert count_classifier("resnext29_8x64d", classes=10) == RESNEXT29


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


@pytest.mark.parametrize("name", TRAINED)
def test_totals(name):
    trained = count_classifier(name) + count(build_exits(name))
    assert (trained, trained + count_projections(name)) == TRAINED[name]


def table(heading: str) -> dict[str, list[int]]:
    """The rows of the table below a heading of docs/models.md: first cell to the numbers in it."""
    section = DOCUMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return {
        cells[0].strip(" `"): [int(cell.replace(",", "")) for cell in cells[1:]]
        for cells in rows
        if re.fullmatch(r" [\d,]+ ", cells[-1])
    }


def test_every_backbone_is_documented():
    assert set(table("What training costs")) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_documented_counts(name):
    assert table("What training costs")[name] == [
        count_classifier(name),
        count(build_exits(name)),
        count_projections(name),
        count(build_exits(name, head="bottleneck")),
    ]


def test_documented_caps():
    rows = table("Capping the heads")
    assert set(rows) == {"None", "512", "256", "128"}
    for cap, numbers in rows.items():
        cap = None if cap == "None" else int(cap)
        assert numbers == [count(build_exits("densenet121", width_cap=cap))]


def test_nothing_is_allocated():
    leaves = jax.tree.leaves(nnx.state(abstract_backbone("resnet50")))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
