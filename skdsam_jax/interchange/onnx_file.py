"""ONNX: the network as a graph of standard operators, for onnxruntime and what reads its files."""

from collections.abc import Callable, Iterable
from typing import Any

from flax import nnx

from skdsam_jax.interchange.description import INPUT, OUTPUT, as_metadata, describe
from skdsam_jax.interchange.onnx_graph import Graph
from skdsam_jax.interchange.packages import require
from skdsam_jax.models import ResNet
from skdsam_jax.models.densenet import DenseNet, NormConv
from skdsam_jax.models.layers import ConvNorm
from skdsam_jax.models.resnet import ResidualBlock
from skdsam_jax.models.stems import Stem
from skdsam_jax.models.wide_resnet import PreactivationBlock, WideResNet
from skdsam_jax.options import ConfigError
from skdsam_jax.trained import Trained

# Height and width of the images.
Size = tuple[int, int]


def files(trained: Trained) -> dict[str, bytes]:
    """The network at inference: uint8 images [batch, height, width, 3] -> logits.

    Normalisation is part of it, the batch is of any size, numbers are float32. Its metadata is what
    `describe` gives.

    Raises:
      ConfigError: the package onnx is missing, or the backbone is of a family that has no graph.
    """
    onnx = require("onnx", "--format onnx")
    classifier, name = trained.classifier, trained.config["model"]["name"]
    write_backbone = _GRAPHS.get(type(classifier.backbone))
    if write_backbone is None:
        raise ConfigError(
            f"--format onnx: takes a ResNet, ResNeXt, wide residual network or DenseNet, not "
            f"{name}; stablehlo takes any"
        )
    graph = Graph(onnx)
    images = graph.pixels(INPUT, trained.mean, trained.std)
    features = write_backbone(graph, images, classifier.backbone, trained.image_shape[:2])
    graph.classify(features, classifier.dense, OUTPUT)
    kinds, value = onnx.TensorProto, onnx.helper.make_tensor_value_info
    model = graph.model(
        [value(INPUT, kinds.UINT8, ["batch", *trained.image_shape])],
        [value(OUTPUT, kinds.FLOAT, ["batch", len(trained.class_names)])],
        name,
    )
    onnx.helper.set_model_props(model, as_metadata(describe(trained)))
    return {"": model.SerializeToString()}


def _resnet(graph: Graph, x: str, backbone: ResNet, size: Size) -> str:
    x = _stem(graph, x, backbone.stem)
    for block in _blocks(backbone):
        x = _residual_block(graph, x, block)
    return x


def _wide_resnet(graph: Graph, x: str, backbone: WideResNet, size: Size) -> str:
    x = graph.conv(x, backbone.stem)
    for block in _blocks(backbone):
        x = _preactivation_block(graph, x, block)
    return graph.relu(graph.norm(x, backbone.norm))


def _densenet(graph: Graph, x: str, backbone: DenseNet, size: Size) -> str:
    small = not isinstance(backbone.stem, Stem)
    x = graph.conv(x, backbone.stem) if small else _stem(graph, x, backbone.stem)
    for stage, layers in enumerate(backbone.stages):
        if stage:
            transition = backbone.transitions[stage - 1]
            # A stage has the image's sides over its reduction, rounded up.
            before = tuple(-(-side // backbone.reductions[stage - 1]) for side in size)
            x = graph.halve(_norm_conv(graph, x, transition), before)
        for layer in layers:
            x = graph.concatenate(x, _dense_layer(graph, x, *layer.units))
    return graph.relu(graph.norm(x, backbone.norm))


_GRAPHS: dict[type, Callable[[Graph, str, Any, Size], str]] = {
    ResNet: _resnet,
    WideResNet: _wide_resnet,
    DenseNet: _densenet,
}


def _blocks(backbone: ResNet | WideResNet) -> Iterable[nnx.Module]:
    return (block for blocks in backbone.stages for block in blocks)


def _stem(graph: Graph, x: str, stem: Stem) -> str:
    x = graph.relu(_unit(graph, x, stem))
    return graph.max_pool(x) if stem.reduction == 4 else x


def _unit(graph: Graph, x: str, unit: ConvNorm) -> str:
    return graph.conv(x, unit.conv, unit.norm)


def _residual_block(graph: Graph, x: str, block: ResidualBlock) -> str:
    *inner, last = block.branch
    shortcut = x if block.shortcut is None else _unit(graph, x, block.shortcut)
    for unit in inner:
        x = graph.relu(_unit(graph, x, unit))
    return graph.relu(graph.add(_unit(graph, x, last), shortcut))


def _preactivation_block(graph: Graph, x: str, block: PreactivationBlock) -> str:
    activated = graph.relu(graph.norm(x, block.norms[0]))
    shortcut = x if block.shortcut is None else graph.conv(activated, block.shortcut)
    features = graph.relu(graph.conv(activated, block.convs[0], block.norms[1]))
    return graph.add(graph.conv(features, block.convs[1]), shortcut)


def _norm_conv(graph: Graph, x: str, unit: NormConv) -> str:
    return graph.conv(graph.relu(graph.norm(x, unit.norm)), unit.conv)


def _dense_layer(graph: Graph, x: str, first: NormConv, second: NormConv) -> str:
    x = graph.relu(graph.norm(x, first.norm))
    x = graph.relu(graph.conv(x, first.conv, second.norm))
    return graph.conv(x, second.conv)
