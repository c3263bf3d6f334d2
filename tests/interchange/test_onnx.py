"""ONNX graphs answer in onnxruntime as the network does."""

import collections
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from untrained_networks import fabricate, pictures

from skdsam_jax.interchange.onnx_file import files
from skdsam_jax.options import ConfigError


def _session(trained):
    return onnxruntime.InferenceSession(files(trained)[""], providers=["CPUExecutionProvider"])


def _operators(trained):
    model = onnx.load_from_string(files(trained)[""])
    return collections.Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("tiny_resnet", {}),
        # An odd side is pooled over the border.
        ("tiny_resnet", {"stem": "imagenet", "size": 30}),
        ("tiny_bottlenecks", {}),
        ("tiny_resnext", {"width": 16}),
        ("wrn10_1", {}),
        ("wrn10_2", {}),
        # 14 and 7 pixels: the second transition has an odd side, whose border is a mean of less.
        ("tiny_densenet", {"size": 14}),
        ("tiny_densenet", {"stem": "imagenet", "size": 32}),
    ],
)
def test_logits_are_those_of_the_network(backbone, options):
    trained = fabricate(backbone, **options)
    images = pictures(trained, 3)
    expected = np.asarray(trained.logits(images))
    session = _session(trained)
    (logits,) = session.run(["logits"], {"images": images})
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    # A batch of any size.
    (alone,) = session.run(None, {"images": images[:1]})
    np.testing.assert_allclose(alone, expected[:1], rtol=1e-4, atol=1e-5)


def test_normalisation_behind_a_convolution_is_folded_into_it():
    assert not _operators(fabricate("tiny_resnet"))["BatchNormalization"]
    # A block's first and the last of all follow a sum; the second of a block does not.
    assert _operators(fabricate("wrn10_1"))["BatchNormalization"] == 3 + 1
    # A layer's first, a transition's, and the last of all.
    assert _operators(fabricate("tiny_densenet"))["BatchNormalization"] == 4 + 2 + 1


def test_only_operators_of_every_runtime_are_used():
    used = set()
    for backbone, options in (("tiny_resnet", {"stem": "imagenet"}), ("tiny_densenet", {})):
        used |= set(_operators(fabricate(backbone, **options)))
    assert used == {
        *("Transpose", "Cast", "Mul", "Add", "Conv", "Relu", "MaxPool", "AveragePool"),
        *("Concat", "BatchNormalization", "GlobalAveragePool", "Flatten", "Gemm"),
    }


def test_classes_and_preparation_travel_with_the_graph():
    trained = fabricate("tiny_resnet")
    metadata = _session(trained).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(trained.class_names)
    assert json.loads(metadata["image_shape"]) == [16, 16, 3]
    assert json.loads(metadata["mean"]) == [0.4, 0.5, 0.6]
    assert json.loads(metadata["preparation"]) == {"side": 16, "share": 0.875, "reduced": True}
    assert json.loads(metadata["model"]) == {"name": "tiny_resnet", "width": 4, "stem": "small"}
    assert metadata["params_digest"] == trained.params_digest


@pytest.mark.parametrize(("backbone", "width"), [("dia_resnet18", 8), ("san10", 32)])
def test_other_families_are_refused_by_name(backbone, width):
    with pytest.raises(ConfigError, match=f"^--format onnx: takes a ResNet.*, not {backbone}"):
        files(fabricate(backbone, width=width, size=32))
