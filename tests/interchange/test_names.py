"""The names and shapes of torchvision, layer by layer."""

import numpy as np
import pytest
from flax import nnx

from skdsam_jax.interchange.names import OURS, naming_of
from skdsam_jax.interchange.paths import by_path, replaced
from skdsam_jax.models import BACKBONES, Classifier, create_backbone
from skdsam_jax.models.variables import Functional

NORM = ("weight", "bias", "running_mean", "running_var")


def _file_shapes(name, stem="imagenet"):
    """Shapes by name, as a file of the network holds them; nothing is allocated."""

    def build(rngs: nnx.Rngs):
        return Classifier(create_backbone(name, stem=stem, rngs=rngs), 1000, rngs=rngs)

    network, naming = Functional(build), naming_of(name)
    arrays = by_path(network.params, network.model_state)
    return {
        naming.translate(path): naming.to_file(np.broadcast_to(0.0, array.shape)).shape
        for path, array in arrays.items()
    }


def _resnet(depths, convs, *, every_first_projects):
    """torchvision's names of a ResNet whose blocks have that many convolutions."""
    names = {"conv1.weight", "fc.weight", "fc.bias", *(f"bn1.{leaf}" for leaf in NORM)}
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            at = f"layer{stage}.{block}"
            for conv in range(1, convs + 1):
                names |= {f"{at}.conv{conv}.weight", *(f"{at}.bn{conv}.{leaf}" for leaf in NORM)}
            if block == 0 and (stage > 1 or every_first_projects):
                names.add(f"{at}.downsample.0.weight")
                names |= {f"{at}.downsample.1.{leaf}" for leaf in NORM}
    return names


def _densenet(depths):
    names = {"features.conv0.weight", "classifier.weight", "classifier.bias"}
    norms = ["features.norm0", "features.norm5"]
    for block, depth in enumerate(depths, 1):
        for layer in range(1, depth + 1):
            at = f"features.denseblock{block}.denselayer{layer}"
            names |= {f"{at}.conv1.weight", f"{at}.conv2.weight"}
            norms += [f"{at}.norm1", f"{at}.norm2"]
        if block < len(depths):
            names.add(f"features.transition{block}.conv.weight")
            norms.append(f"features.transition{block}.norm")
    return names | {f"{norm}.{leaf}" for norm in norms for leaf in NORM}


@pytest.mark.parametrize(
    ("name", "names", "shapes"),
    [
        (
            "resnet18",
            _resnet((2, 2, 2, 2), 2, every_first_projects=False),
            {
                "conv1.weight": (64, 3, 7, 7),
                "layer2.0.conv1.weight": (128, 64, 3, 3),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1),
                "layer4.1.bn2.running_var": (512,),
                "fc.weight": (1000, 512),
            },
        ),
        (
            "resnext50_32x4d",
            _resnet((3, 4, 6, 3), 3, every_first_projects=True),
            {
                "layer1.0.conv2.weight": (128, 4, 3, 3),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer4.2.conv3.weight": (2048, 1024, 1, 1),
            },
        ),
        (
            "densenet121",
            _densenet((6, 12, 24, 16)),
            {
                "features.conv0.weight": (64, 3, 7, 7),
                "features.denseblock4.denselayer16.conv1.weight": (128, 992, 1, 1),
                "features.denseblock4.denselayer16.conv2.weight": (32, 128, 3, 3),
                "features.transition3.conv.weight": (512, 1024, 1, 1),
                "features.norm5.running_mean": (1024,),
                "classifier.weight": (1000, 1024),
            },
        ),
    ],
)
def test_names_and_shapes_are_torchvisions(name, names, shapes):
    found = _file_shapes(name)
    assert found.keys() == names
    assert {name: found[name] for name in shapes} == shapes


def test_a_small_stem_has_the_same_names():
    small, large = (_file_shapes("resnet18", stem) for stem in ("small", "imagenet"))
    assert small.pop("conv1.weight") == (64, 3, 3, 3)
    assert large.pop("conv1.weight") == (64, 3, 7, 7)
    assert small == large


def test_a_layer_without_a_name_is_an_error():
    with pytest.raises(KeyError, match=r"backbone\.cells"):
        naming_of("resnet18").translate("backbone.cells.0.kernel")


def test_what_others_do_not_have_keeps_our_names_and_layout():
    assert {name for name in BACKBONES if naming_of(name) is OURS} > {"wrn16_2", "san10"}
    kernel = np.zeros((3, 3, 4, 8))
    assert OURS.to_file(kernel) is kernel
    assert OURS.translate("backbone.stem.kernel") == "backbone.stem.kernel"


def test_arrays_are_replaced_by_path_in_the_types_that_were_there():
    tree = {"a": {"0": np.zeros(2, np.float32)}, "b": np.ones(2, np.float32)}
    changed = replaced(tree, {"a.0": np.full(2, 3.0)})
    np.testing.assert_array_equal(changed["a"]["0"], [3, 3])
    assert changed["a"]["0"].dtype == np.float32
    assert changed["b"] is not tree["b"]
    np.testing.assert_array_equal(changed["b"], [1, 1])
