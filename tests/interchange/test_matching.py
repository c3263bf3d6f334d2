"""What of a source a network takes, and what it refuses."""

import numpy as np
import pytest
from untrained_networks import fabricate, pytorch_arrays

from skdsam_jax.interchange.initial import Source
from skdsam_jax.interchange.matching import match
from skdsam_jax.interchange.names import OURS, naming_of
from skdsam_jax.interchange.paths import by_path
from skdsam_jax.options import ConfigError

DIGITS = tuple(map(str, range(10)))


def _match(arrays, *, names=None, naming=None, classes=DIGITS, backbone="tiny_resnet", **model):
    model = {"stem": "imagenet"} | model
    trained = fabricate(backbone, classes=len(classes), **model)
    source = Source("there", 64 * "b", naming or naming_of(backbone), arrays, names)
    network = by_path(trained.params["classifier"], trained.model_state["classifier"])
    return match(source, network, backbone=backbone, class_names=classes), network


def test_every_array_goes_to_its_place_in_our_layout():
    arrays = pytorch_arrays()
    start, network = _match(arrays)
    assert start.arrays.keys() == network.keys()
    assert start.record["taken"] == len(network)
    assert start.record["anew"] == {}
    for name, path, axes in (
        ("conv1.weight", "backbone.stem.conv.kernel", "oihw->hwio"),
        ("layer3.1.conv2.weight", "backbone.stages.2.1.branch.1.conv.kernel", "oihw->hwio"),
        ("layer2.0.downsample.0.weight", "backbone.stages.1.0.shortcut.conv.kernel", "oihw->hwio"),
        ("layer2.0.downsample.1.weight", "backbone.stages.1.0.shortcut.norm.scale", "f->f"),
        ("layer1.0.bn2.bias", "backbone.stages.0.0.branch.1.norm.bias", "f->f"),
        ("bn1.running_mean", "backbone.stem.norm.mean", "f->f"),
        ("bn1.running_var", "backbone.stem.norm.var", "f->f"),
        ("fc.weight", "dense.kernel", "oi->io"),
        ("fc.bias", "dense.bias", "o->o"),
    ):
        np.testing.assert_array_equal(start.arrays[path], np.einsum(axes, arrays[name]))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"names": DIGITS}, None),
        ({"names": None}, None),
        ({"names": DIGITS[::-1]}, "classes 9 to 0 (10) there, 0 to 9 (10) here"),
        ({"classes": ("cat", "dog")}, "10 classes there, 2 here"),
        ({"classes": ("cat", "dog"), "names": DIGITS}, "classes 0 to 9 (10) there, cat to dog (2)"),
    ],
)
def test_a_head_for_other_classes_starts_anew(changes, reason):
    start, network = _match(pytorch_arrays(), **changes)
    left = {"dense.kernel", "dense.bias"} if reason else set()
    assert network.keys() - start.arrays.keys() == left
    assert start.record["anew"].get("head", "").startswith(reason or "")
    assert bool(start.record["anew"]) == bool(reason)


def test_a_file_without_head_gives_all_else():
    arrays = {name: array for name, array in pytorch_arrays().items() if name[:2] != "fc"}
    start, network = _match(arrays)
    assert start.record["anew"] == {"head": "none there"}
    assert len(start.arrays) == len(network) - 2


def test_a_stem_of_another_shape_starts_anew():
    start, network = _match(pytorch_arrays(), stem="small")
    assert start.record["anew"] == {"stem": "7x7x3x4 there, 3x3x3x4 here"}
    left = network.keys() - start.arrays.keys()
    assert left == {
        "backbone.stem.conv.kernel",
        *(f"backbone.stem.norm.{leaf}" for leaf in ("scale", "bias", "mean", "var")),
    }
    assert str(start).startswith("starts from there (SHA-256 bbbbbbbbbbbb...): ")
    assert str(start).endswith("; anew: stem (7x7x3x4 there, 3x3x3x4 here)")


@pytest.mark.parametrize("stems", [("small", "imagenet"), ("imagenet", "small")])
def test_the_stems_of_a_densenet_hold_different_arrays(stems):
    """The small one has no normalisation."""
    theirs = fabricate("tiny_densenet", stem=stems[0])
    naming = naming_of("tiny_densenet")
    arrays = by_path(theirs.params["classifier"], theirs.model_state["classifier"])
    file = {naming.translate(path): naming.to_file(array) for path, array in arrays.items()}
    options = {"backbone": "tiny_densenet", "classes": DIGITS[:5], "stem": stems[1]}
    start, network = _match(file, **options)
    assert set(start.record["anew"]) == {"stem"}
    left = network.keys() - start.arrays.keys()
    assert left
    assert all(path.startswith("backbone.stem.") for path in left)
    # Under our names it is the same.
    again, _ = _match(arrays, naming=OURS, **options)
    assert again.arrays.keys() == start.arrays.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("layer1.0.conv1.weight"), "has no layer1.0.conv1.weight"),
        (
            lambda arrays: arrays.update({"layer3.2.conv1.weight": np.zeros((4, 4, 3, 3))}),
            "has layer3.2.conv1.weight too",
        ),
        (
            lambda arrays: arrays.update({"layer1.0.conv1.weight": np.zeros((8, 4, 3, 3))}),
            r"has layer1.0.conv1.weight of shape \[3, 3, 4, 8\], not \[3, 3, 4, 4\]",
        ),
        (lambda arrays: arrays.pop("conv1.weight"), "has no conv1.weight"),
    ],
)
def test_another_network_is_refused(change, message):
    arrays = pytorch_arrays()
    change(arrays)
    with pytest.raises(ConfigError, match=rf"^config\.model\.initial: there .*{message}"):
        _match(arrays)


def test_another_width_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"; \d+ more arrays differ$") as error:
        _match(pytorch_arrays(width=8))
    assert "\n" not in str(error.value)
