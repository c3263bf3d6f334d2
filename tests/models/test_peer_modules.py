"""What peer methods hang on a network: exact sizes, shapes and types for every kind of backbone."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from families import TINY, abstract, abstract_backbone, abstract_call, abstract_stages, count
from flax import nnx

from skdsam_jax.models import (
    Discriminator,
    FusionHead,
    Peers,
    SelfTeacher,
    ShallowExits,
    initialize,
    last_stage_whole,
    one_block_each,
    rectified,
)
from skdsam_jax.models.self_teacher import Fusion
from skdsam_jax.options import ConfigError

CLASSES = 100
# What each method adds to a ResNet-18 in exits, at 100 classes.
EXITS = {
    "msd": ({"head": "branch", "depths": one_block_each}, 13_241_388),
    "mixskd": ({"head": "branch"}, 30_060_076),
    "dks": ({"head": "branch", "depths": last_stage_whole, "stages": (1, 2)}, 17_809_096),
    "lightskd": ({"stages": (1,), "align_corners": True}, 342_116),
}
ENSEMBLE, DISCRIMINATOR = 1_099_876, 65_922
PEERS = 3 * 8_445_028 + 65_536
SELF_TEACHERS = {
    ("resnet18", 2, 2): 6_375_794,
    ("wrn16_2", 2, 2): 411_885,
    ("resnet18", 1, 1): 1_538_866,
    ("resnet50", 2, 2): 99_918_962,
}


@pytest.mark.parametrize("method", EXITS)
def test_exits_of_the_peers(method):
    options, parameters = EXITS[method]
    backbone = abstract_backbone("resnet18")
    exits = abstract(lambda rngs: ShallowExits(backbone, CLASSES, **options, rngs=rngs))
    assert count(exits) == parameters
    assert len(exits.heads) == len(exits.dense) == len(exits.stages)


@pytest.mark.parametrize(("name", "width", "depth"), SELF_TEACHERS)
def test_parameters_of_the_self_teacher(name, width, depth):
    channels = abstract_backbone(name).channels
    teacher = abstract(
        lambda rngs: SelfTeacher(channels, CLASSES, width=width, depth=depth, rngs=rngs)
    )
    assert count(teacher) == SELF_TEACHERS[name, width, depth]


def test_parameters_of_mixskd_and_okddip():
    backbone = abstract_backbone("resnet18")
    assert count(abstract(lambda rngs: FusionHead(512, 4, CLASSES, rngs=rngs))) == ENSEMBLE
    assert count(abstract(lambda rngs: Discriminator(512, rngs=rngs))) == DISCRIMINATOR
    assert count(abstract(lambda rngs: Peers(backbone, CLASSES, rngs=rngs))) == PEERS


def test_documented_counts():
    """The other tests show that these are the counts."""
    document = (pathlib.Path(__file__).parents[2] / "docs" / "models.md").read_text()
    section = document.split("## Heads that copy stages\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    numbers = {row[0]: int(row[-1].replace(",", "")) for row in rows[2:] if len(row) == 3}
    exits = {name: parameters for name, (_, parameters) in EXITS.items()}
    self_teacher = SELF_TEACHERS["resnet18", 2, 2]
    expected = {**exits, "okddip": PEERS, "frskd": self_teacher}
    assert {name.lower(): number for name, number in numbers.items()} == expected
    assert f" {ENSEMBLE + 4 * DISCRIMINATOR:,} " in section


class Everything(nnx.Module):
    """A backbone with all of these modules."""

    def __init__(self, family, dtype, rngs):
        settings = {"dtype": dtype, "param_dtype": jnp.float32, "rngs": rngs}
        self.backbone = backbone = TINY[family](**settings)
        width, stages = backbone.channels[-1], len(backbone.channels)
        self.exits = ShallowExits(backbone, 5, head="branch", **settings)
        self.fusion = FusionHead(width, stages, 5, **settings)
        self.discriminator = Discriminator(width, **settings)
        self.peers = Peers(backbone, 5, **settings)
        self.teacher = SelfTeacher(backbone.channels, 5, **settings)

    def __call__(self, images, *, train):
        stages = self.backbone(images, train=train)
        maps = (*self.exits.feature_maps(stages, train=train), stages[-1])
        _, logits = self.exits.classify(maps[:-1])
        refined, teacher_logits = self.teacher(
            rectified(stages, preactivation=self.backbone.preactivation), train=train
        )
        peers = self.peers(stages, train=train)
        ensemble, scores = self.fusion(maps), self.discriminator(maps[0])
        return stages, maps, refined, (*logits, teacher_logits, ensemble), scores, peers


@pytest.mark.parametrize("size", [(16, 16), (9, 14)])
@pytest.mark.parametrize("family", TINY)
def test_all_of_them_on_every_kind_of_backbone(family, size):
    """In bfloat16 maps are bfloat16; what is pooled and what is kept is float32."""
    network = abstract(lambda rngs: Everything(family, jnp.bfloat16, rngs))
    (stages, maps, refined, logits, scores, peers), state = abstract_stages(network, size)
    assert {array.shape for array in maps} == {stages[-1].shape}
    assert [array.shape for array in refined] == [
        (*stage.shape[:3], 2 * stage.shape[3]) for stage in stages
    ]
    assert {array.dtype for array in (*maps, *refined)} == {jnp.dtype(jnp.bfloat16)}
    width = stages[-1].shape[-1]
    assert {array.shape for array in (*logits, *peers.logits)} == {(2, 5)}
    assert scores.shape == (2, 2)
    assert [array.shape for array in peers.features] == 3 * [(2, width)]
    assert {array.shape for array in peers.queries + peers.keys} == {(2, max(width // 8, 1))}
    for tree in (logits, scores, peers, state):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype(jnp.float32)}


def test_everything_is_float64_under_x64():
    with jax.enable_x64(True):
        settings = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        stages = [jax.ShapeDtypeStruct((2, n, n, 4), jnp.float64) for n in (4, 2)]
        teacher = abstract(lambda rngs: SelfTeacher((4, 4), 5, **settings, rngs=rngs))
        outputs, state = abstract_call(teacher, stages)
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, state))} == {jnp.dtype(jnp.float64)}


def test_weights_of_the_self_teacher_start_as_pytorch_does():
    teacher = jax.jit(
        lambda: nnx.state(initialize(lambda rngs: SelfTeacher((8, 16), 5, rngs=rngs), 0))
    )
    state = teacher()
    kernels = {
        # Features that one output sums over: 1x1 of 8, 3x3 of its own, 1x1 of 32 to 16.
        8: state["lateral"][0]["conv"]["kernel"],
        9: state["bottom_up"][0]["depthwise"][0]["kernel"],
        32: state["up"][0]["conv"]["kernel"],
    }
    for fan_in, kernel in kernels.items():
        largest = float(jnp.abs(kernel[...]).max())
        assert 0.9 / np.sqrt(fan_in) < largest <= 1 / np.sqrt(fan_in)
    for fusion in (*state["up_fusion"].values(), *state["down_fusion"].values()):
        np.testing.assert_array_equal(fusion["weights"][...], np.ones(2))


def test_fusion_ignores_negative_weights():
    with jax.enable_x64(True):
        fuse = Fusion(3, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        fuse.weights[...] = jnp.asarray([1.0, -2.0, 3.0])
        maps = np.random.default_rng(0).normal(size=(3, 2, 2, 2, 1))
        actual = fuse(*map(jnp.asarray, maps))
        np.testing.assert_allclose(actual, (maps[0] + 3 * maps[2]) / (4 + 1e-6), atol=1e-15)


def test_rectified():
    stages = tuple(
        jnp.asarray(np.random.default_rng(i).normal(size=(1, 2, 2, 1))) for i in range(3)
    )
    assert rectified(stages, preactivation=False) is stages
    *shallow, deepest = rectified(stages, preactivation=True)
    assert deepest is stages[-1]
    for actual, stage in zip(shallow, stages[:-1], strict=True):
        np.testing.assert_array_equal(actual, numpy_layers.relu(np.asarray(stage)))


def test_exits_on_some_stages():
    backbone = abstract_backbone("resnet18", width=4)

    def shapes(**options):
        exits = abstract(lambda rngs: ShallowExits(backbone, 5, **options, rngs=rngs))
        stages, _ = abstract_stages(backbone, (16, 16))
        (features, logits), _ = abstract_call(exits, stages)
        return exits, [array.shape for array in (*features, *logits)]

    exits, two = shapes(head="bottleneck", stages=(1, 2))
    assert two == 2 * [(2, 32)] + 2 * [(2, 5)]
    assert [head.reduction for head in exits.heads] == [4, 2]
    # The second stage has half the image's side, and its head needs four pixels of it.
    assert exits.minimum_image_size == 7
    _, none = shapes(stages=())
    assert none == []


@pytest.mark.parametrize("stages", [(3,), (-1,), (1, 0), (1, 1)])
def test_exits_on_impossible_stages(stages):
    backbone = abstract_backbone("resnet18", width=4)
    with pytest.raises(ValueError, match=r"stages: takes increasing numbers from 0 to 2, not \("):
        ShallowExits(backbone, 5, stages=stages, rngs=nnx.Rngs(0))


def test_copies_of_stages_take_no_cap():
    backbone = abstract_backbone("resnet18", width=4)
    with pytest.raises(ConfigError, match=r"config.model.head_width_cap: .* None, not 8") as error:
        ShallowExits(backbone, 5, head="branch", width_cap=8, rngs=nnx.Rngs(0))
    assert "\n" not in str(error.value)
