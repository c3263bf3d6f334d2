"""What holds for every backbone: its table, the shapes of its stages, its types."""

import jax
import jax.numpy as jnp
import pytest
from families import TINY, abstract, abstract_backbone, abstract_stages
from flax import nnx

from skdsam_jax.models import BACKBONES, ModelOptions, create_backbone
from skdsam_jax.options import ConfigError, build

STAGES = {
    "resnet18": (64, 128, 256, 512),
    "resnet34": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048),
    "dia_resnet18": (64, 128, 256, 512),
    "dia_resnet34": (64, 128, 256, 512),
    "dia_resnet50": (256, 512, 1024, 2048),
    "resnext29_8x64d": (256, 512, 1024),
    "resnext50_32x4d": (256, 512, 1024, 2048),
    "densenet121": (256, 512, 1024, 1024),
    "densenet169": (256, 512, 1280, 1664),
    "densenet201": (256, 512, 1792, 1920),
    "san10": (256, 512, 1024, 2048),
    "san15": (256, 512, 1024, 2048),
    "san19": (256, 512, 1024, 2048),
    "wrn16_2": (32, 64, 128),
    "wrn40_2": (32, 64, 128),
    "wrn28_10": (160, 320, 640),
}


def check_stages(backbone, size):
    stages, _ = abstract_stages(backbone, size)
    assert isinstance(stages, tuple)
    assert isinstance(backbone.preactivation, bool)
    for stage, channels, reduction in zip(
        stages, backbone.channels, backbone.reductions, strict=True
    ):
        assert stage.shape == (2, *(-(-side // reduction) for side in size), channels)
    assert [2 * reduction for reduction in backbone.reductions[:-1]] == [*backbone.reductions[1:]]
    return [stage.shape[1] for stage in stages]


def test_every_backbone_is_listed():
    assert set(STAGES) == set(BACKBONES)


@pytest.mark.parametrize("name", STAGES)
def test_stages_of_the_table(name):
    backbone = abstract_backbone(name)
    assert backbone.channels == STAGES[name]
    assert backbone.reductions == (1, 2, 4, 8)[: len(backbone.channels)]
    assert backbone.preactivation == name.startswith(("wrn", "densenet"))


@pytest.mark.parametrize("name", ["resnet18", "resnext29_8x64d", "densenet121", "san10", "wrn16_2"])
def test_shapes_at_32_pixels(name):
    sizes = check_stages(abstract_backbone(name), (32, 32))
    assert sizes == [32, 16, 8, 4][: len(sizes)]


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "densenet121", "san10"])
def test_shapes_at_224_pixels(name):
    backbone = abstract_backbone(name, stem="imagenet")
    assert backbone.reductions == (4, 8, 16, 32)
    assert check_stages(backbone, (224, 224)) == [56, 28, 14, 7]


@pytest.mark.parametrize("size", [(16, 16), (9, 20), (1, 3)])
@pytest.mark.parametrize("family", TINY)
def test_sizes_are_rounded_up(family, size):
    check_stages(abstract(lambda rngs: TINY[family](rngs=rngs)), size)


@pytest.mark.parametrize("family", ["resnet", "resnext", "densenet"])
def test_sizes_are_rounded_up_behind_the_imagenet_stem(family):
    check_stages(abstract(lambda rngs: TINY[family](stem="imagenet", rngs=rngs)), (61, 33))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("family", TINY)
def test_bfloat16_keeps_variables_in_float32(family, train):
    backbone = abstract(lambda rngs: TINY[family](dtype=jnp.bfloat16, rngs=rngs))
    stages, state = abstract_stages(backbone, (16, 16), train=train)
    assert {stage.dtype for stage in stages} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("family", TINY)
def test_everything_is_float64_under_x64(family):
    with jax.enable_x64(True):
        settings = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        backbone = abstract(lambda rngs: TINY[family](rngs=rngs, **settings))
        stages, state = abstract_stages(backbone, (16, 16))
    leaves = [*stages, *jax.tree.leaves(state)]
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float64)}


def test_width_scales_all_stages():
    channels = {
        ("resnet18", 4): (4, 8, 16, 32),
        ("resnet50", 4): (16, 32, 64, 128),
        ("resnext29_8x64d", 4): (16, 32, 64),
        ("resnext50_32x4d", 16): (64, 128, 256, 512),
        ("wrn16_2", 4): (8, 16, 32),
        ("wrn16_4", 4): (16, 32, 64),
    }
    for (name, width), expected in channels.items():
        assert abstract_backbone(name, width=width).channels == expected
    narrow = abstract(lambda rngs: TINY["densenet"](width=64, rngs=rngs))
    # 32 features more for each layer, half of all in each transition.
    assert narrow.channels == (64 + 32, 48 + 2 * 32, 56 + 32)


@pytest.mark.parametrize("family", TINY)
def test_two_builds_have_equal_structures(family):
    first, second = (nnx.split(abstract(lambda rngs: TINY[family](rngs=rngs)))[0] for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


def test_any_wide_resnet_has_a_name():
    backbone = abstract_backbone("wrn22_3", width=2)
    assert backbone.channels == (6, 12, 24)
    assert [len(blocks) for blocks in backbone.stages] == [3, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet81"}, "config.model.name: unknown backbone 'resnet81'; did you mean res"),
        ({"name": "x"}, "config.model.name: unknown backbone 'x'; known are densenet121, .*resnet"),
        ({"name": "wrn16-2"}, "config.model.name: .*did you mean wrn16_2?"),
        ({"name": "wrn16_0"}, "config.model.name: unknown backbone"),
        ({"name": "wrn18_2"}, r"config.model.name: .*depth of 6 n \+ 4, such as .*, not 18"),
        ({"name": "wrn4_2"}, r"config.model.name: .*depth of 6 n \+ 4, such as .*, not 4"),
        ({"name": "wrn16_2", "stem": "imagenet"}, "config.model.stem: .* takes small, not 'imag"),
        ({"name": "densenet121", "width": 9}, "config.model.width: .* even number, .*, not 9"),
        (
            {"name": "resnet18", "dia_reduction": 4},
            "config.model.dia_reduction: takes None with resnet18, not 4; .* of dia_resnet18, dia_",
        ),
        (
            {"name": "dia_resnet18", "san_kind": "pairwise"},
            "config.model.san_kind: takes None with dia_resnet18, not 'pairwise'; .* san10, san15",
        ),
        ({"name": "san10", "width": 48}, "config.model.width: a SAN .* multiple of 32, not 48"),
        (
            {"name": "dia_resnet18", "width": 4, "dia_reduction": 5},
            "config.model.dia_reduction: takes at most 4, .* not 5",
        ),
        ({"name": "resnext50_32x4d", "width": 8}, "config.model.width: .* multiple of 16, not 8"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        create_backbone(rngs=nnx.Rngs(0), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("stem", "imagnet", "config.model.stem: unknown value 'imagnet'; did you mean imagenet?"),
        ("width", 0, "config.model.width: takes at least 1, not 0"),
        ("dia_reduction", 0, "config.model.dia_reduction: takes at least 1, not 0"),
        (
            "san_kind",
            "patch",
            "config.model.san_kind: unknown value 'patch'; did you mean patchwise?",
        ),
        ("head_width_cap", 0, "config.model.head_width_cap: takes at least 1, not 0"),
    ],
)
def test_fields_are_checked(field, value, message):
    with pytest.raises(ConfigError) as error:
        build(ModelOptions, {field: value}, "config.model")
    assert str(error.value) == message


@pytest.mark.parametrize("family", ["resnet", "densenet"])
def test_unknown_stem(family):
    with pytest.raises(ValueError, match="stem: takes one of small, imagenet, not 'large'"):
        TINY[family](stem="large", rngs=nnx.Rngs(0))
