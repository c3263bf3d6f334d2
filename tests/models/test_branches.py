"""Copies of the stages ahead of a stage: exact sizes, shapes, types, and that they are the trunk's.

Nothing is allocated except where a copy is compared with the trunk.
"""

import families
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import TINY, abstract, abstract_backbone, abstract_call, abstract_stages, count
from flax import nnx

from skdsam_jax.models import (
    BACKBONES,
    initialize,
    last_stage_whole,
    one_block_each,
    whole_stages,
)


def count_branch(name, stage, depths=None):
    backbone = abstract_backbone(name)
    return count(abstract(lambda rngs: backbone.branch(stage, depths, rngs=rngs)))


@pytest.mark.parametrize(
    ("stage", "whole", "one_each"),
    [(0, 11_019_008, 4_822_272), (1, 10_493_440, 4_592_128), (2, 8_393_728, 3_673_088)],
)
def test_branches_of_resnet18(stage, whole, one_each):
    """The published heads of MixSKD and of MSD."""
    assert count_branch("resnet18", stage) == whole
    assert count_branch("resnet18", stage, (1,) * (3 - stage)) == one_each


def test_a_branch_whose_last_stage_is_whole():
    """The longer of DKS's two heads."""
    assert count_branch("resnet18", 1, (1, 2)) == 919_040 + 8_393_728


@pytest.mark.parametrize("name", ["dia_resnet18", "resnext29_8x64d", "densenet121", "wrn16_2"])
def test_a_branch_has_what_the_trunk_has_ahead(name):
    backbone = abstract_backbone(name)
    ahead = sum(map(count, backbone.stages[1:]))
    if name == "densenet121":
        ahead += sum(map(count, backbone.transitions))
    if backbone.preactivation:
        ahead += count(backbone.norm)
    assert count_branch(name, 0) == ahead


def test_a_shorter_dense_block_writes_as_many_features():
    backbone = abstract_backbone("densenet121")
    branch = abstract(lambda rngs: backbone.branch(2, (5,), rngs=rngs))
    layers = branch.layers[1:]
    growths = [layer.units[1].conv.out_features for layer in layers]
    assert growths == [102, 102, 103, 102, 103]
    assert sum(growths) == 16 * 32
    assert {layer.units[0].conv.out_features for layer in layers} == {4 * 32}


@pytest.mark.parametrize("rule", [whole_stages, one_block_each])
@pytest.mark.parametrize("family", TINY)
def test_a_branch_ends_as_the_trunk_does(family, rule):
    backbone = abstract(lambda rngs: TINY[family](dtype=jnp.bfloat16, rngs=rngs))
    stages, _ = abstract_stages(backbone, (13, 8))
    for stage in range(len(stages) - 1):
        depths = rule(backbone.depths[stage + 1 :])
        branch = abstract(
            lambda rngs, at=stage, depths=depths: backbone.branch(
                at, depths, dtype=jnp.bfloat16, rngs=rngs
            )
        )
        result, state = abstract_call(branch, stages[stage])
        assert (result.shape, result.dtype) == (stages[-1].shape, jnp.bfloat16)
        assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("family", TINY)
def test_a_branch_computes_what_the_trunk_does(family):
    """Given the trunk's variables, a copy gives the trunk's last stage."""

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.backbone = TINY[family](rngs=rngs)
            self.branch = self.backbone.branch(0, rngs=rngs)

    def ahead(backbone):
        """The trunk's modules after the first stage, in their order."""
        for index, stage in enumerate(backbone.stages[1:]):
            if family == "densenet":
                yield backbone.transitions[index]
            yield from stage

    @jax.jit
    def compute(images):
        network = initialize(Network, 0)
        backbone, branch = network.backbone, network.branch
        own = branch(backbone(images, train=True)[0], train=True)
        for copy, original in zip(branch.layers, ahead(backbone), strict=True):
            nnx.update(copy, nnx.state(original))
        if branch.norm is not None:
            nnx.update(branch.norm, nnx.state(backbone.norm))
        stages = backbone(images, train=False)
        return own, branch(stages[0], train=False), stages[-1]

    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    own, copied, expected = compute(images)
    np.testing.assert_allclose(copied, expected, rtol=1e-5, atol=1e-6)
    # Its own variables are fresh ones.
    assert own.shape == copied.shape
    assert np.abs(own - copied).max() > 0.01


def test_depths():
    assert whole_stages((2, 3, 4)) == (2, 3, 4)
    assert one_block_each((2, 3, 4)) == (1, 1, 1)
    assert last_stage_whole((2, 3, 4)) == (1, 1, 4)
    assert last_stage_whole((4,)) == (4,)


@pytest.mark.parametrize("name", BACKBONES)
def test_depths_of_the_table(name):
    backbone = abstract_backbone(name)
    if name.startswith("san"):
        stages = [level.blocks for level in backbone.levels[1:]]
    elif name.startswith("dia_"):
        stages = [stage.blocks for (stage,) in backbone.stages]
    else:
        stages = backbone.stages
    assert backbone.depths == tuple(map(len, stages))


@pytest.mark.parametrize(
    ("stage", "depths", "message"),
    [
        (3, None, "stage: takes 0 to 2, not 3"),
        (-1, None, "stage: takes 0 to 2, not -1"),
        (1, (1,), r"depths: takes a positive number for each stage after 1, 2 in all, not \(1,\)"),
        (1, (1, 0), r"depths: .* not \(1, 0\)"),
    ],
)
def test_what_cannot_be_copied(stage, depths, message):
    backbone = families.abstract_backbone("resnet18", width=4)
    with pytest.raises(ValueError, match=message):
        backbone.branch(stage, depths, rngs=nnx.Rngs(0))
