"""Compares the golden entries of DIANet and SAN: outputs and gradients.

Parameters keep their PyTorch names and layouts and are written into a network within the function
that is differentiated, so that gradients come in the same layouts. All sizes are read from them.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from comparison import Comparison
from flax import nnx

from skdsam_jax.models import global_average_pool
from skdsam_jax.models.dianet import DIALSTM, DIAResNet
from skdsam_jax.models.layers import Dense
from skdsam_jax.models.operations import relu
from skdsam_jax.models.resnet import BasicBlock, BottleneckBlock, ResidualBlock
from skdsam_jax.models.san import SAN
from skdsam_jax.models.self_attention import PairwiseWeights, SelfAttentionBlock

Entry = Mapping[str, np.ndarray]
Arrays = dict[str, jax.Array]

# The largest difference relative to the largest golden value.
VALUE, GRADIENT = 1e-10, 1e-9


def check_dia_unit(entry: Entry) -> Iterator[Comparison]:
    """A cell that scales the branches of a stage given as arrays."""

    def compute(params: Arrays, inputs: Arrays) -> tuple[jax.Array, Arrays]:
        cell = DIALSTM(inputs["shortcut"].shape[-1], **_settings())
        _fill_cell(cell, params, "")
        state, shortcut = cell.start(inputs["shortcut"].dtype), inputs["shortcut"]
        outputs = {}
        for i in itertools.takewhile(lambda i: f"branch{i}" in inputs, itertools.count()):
            branch = inputs[f"branch{i}"]
            state = cell(global_average_pool(branch), state)
            outputs[f"h{i}"], outputs[f"c{i}"] = state
            outputs[f"block{i}"] = shortcut = relu(state[0][:, None, None] * branch + shortcut)
        loss = sum((array**2).sum() for name, array in outputs.items() if name.startswith("block"))
        return loss, outputs

    return _compare(entry, compute)


def check_dia_bottleneck(entry: Entry) -> Iterator[Comparison]:
    """A DIANet of bottlenecks."""
    return _compare_network(entry, _dianet)


def check_dia_basic(entry: Entry) -> Iterator[Comparison]:
    """A DIANet of basic blocks."""
    return _compare_network(entry, _dianet)


def check_sa_pairwise7(entry: Entry) -> Iterator[Comparison]:
    """A block of pairwise self-attention over 7x7 pixels."""
    return _compare_attention(entry)


def check_sa_pairwise3(entry: Entry) -> Iterator[Comparison]:
    """A block of pairwise self-attention over 3x3 pixels."""
    return _compare_attention(entry)


def check_sa_patchwise7(entry: Entry) -> Iterator[Comparison]:
    """A block of patchwise self-attention over 7x7 pixels."""
    return _compare_attention(entry)


def check_sa_patchwise3(entry: Entry) -> Iterator[Comparison]:
    """A block of patchwise self-attention over 3x3 pixels."""
    return _compare_attention(entry)


def check_san_pairwise(entry: Entry) -> Iterator[Comparison]:
    """A pairwise SAN."""
    return _compare_network(entry, _san, absolute=_zeros_of(entry))


def check_san_patchwise(entry: Entry) -> Iterator[Comparison]:
    """A patchwise SAN."""
    return _compare_network(entry, _san, absolute=_zeros_of(entry))


def _settings() -> dict[str, Any]:
    return {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}


def _compare(
    entry: Entry,
    compute: Callable[[Arrays, Arrays], tuple[jax.Array, Arrays]],
    absolute: Callable[[str], bool] = lambda name: False,
) -> Iterator[Comparison]:
    """Compares what `compute` makes of parameters and inputs, (loss, outputs), and gradients.

    Arrays that the file leaves out are not compared. Those of parameters for which `absolute` holds
    would be zero but for rounding.
    """
    with jax.enable_x64(True):
        groups = ({}, {})
        for key, array in entry.items():
            kind, _, name = key.partition("/")
            if kind in {"param", "in"}:
                groups[kind == "in"][name] = jnp.asarray(array)
        differentiated = jax.jit(jax.value_and_grad(compute, (0, 1), has_aux=True))
        (loss, outputs), gradients = jax.tree.map(np.asarray, differentiated(*groups))
    found = {f"out/{name}": array for name, array in (outputs | {"loss": loss}).items()}
    for arrays in gradients:
        found |= {f"grad/{name}": array for name, array in arrays.items()}
    for name, array in found.items():
        if name in entry:
            kind, _, parameter = name.partition("/")
            tolerance = GRADIENT if kind == "grad" else VALUE
            zero = kind == "grad" and absolute(parameter)
            yield Comparison(name, array, entry[name], tolerance, absolute=zero)


def _compare_network(
    entry: Entry, build: Callable[[Arrays], nnx.Module], **options: Any
) -> Iterator[Comparison]:
    """Compares stages and logits of a backbone whose last stage is classified by `fc`."""

    def compute(params: Arrays, inputs: Arrays) -> tuple[jax.Array, Arrays]:
        classes, features = params["fc.weight"].shape
        dense = Dense(features, classes, **_settings())
        _fill_dense(dense, params, "fc")
        backbone = build(params)
        # First, while running averages are fresh.
        evaluated = backbone(inputs["images"], train=False)
        stages = backbone(inputs["images"], train=True)
        outputs = {f"stage{i}": stage for i, stage in enumerate(stages)}
        for name, deepest in (("logits", stages[-1]), ("logits_eval", evaluated[-1])):
            outputs[name] = dense(global_average_pool(deepest))
        return (outputs["logits"] ** 2).sum(), outputs

    return _compare(entry, compute, **options)


def _compare_attention(entry: Entry) -> Iterator[Comparison]:
    """Compares a block, what it attends to and with which weights."""
    size = round(entry["out/weights"].shape[3] ** 0.5)

    def compute(params: Arrays, inputs: Arrays) -> tuple[jax.Array, Arrays]:
        images = inputs["features"]
        block = _attention_block(params, size)
        evaluated = block(images, train=False)
        normalised = relu(block.norm(images, train=True))
        weights = block.attention.weigh(normalised, train=True)
        outputs = {
            "attended": block.attention(normalised, train=True),
            "weights": jnp.moveaxis(weights, 0, 3),
            "block": block(images, train=True),
            "block_eval": evaluated,
        }
        return (outputs["block"] ** 2).sum(), outputs

    return _compare(entry, compute, absolute=_zeros_of(entry))


def _zeros_of(entry: Entry) -> Callable[[str], bool]:
    """Whether normalisation or softmax cancels a parameter of a block, or of a SAN's blocks."""
    cancelled = ("sam.conv1.bias", "sam.conv2.bias")
    if "param/fc.bias" in entry:
        # Behind every block of a network stands a normalisation.
        cancelled += (".conv.bias",)
    if any(name.endswith("sam.conv_p.bias") for name in entry):
        cancelled += ("sam.conv3.bias", "sam.conv_w.5.bias", "sam.conv_p.bias")
    return lambda name: name.endswith(cancelled)


def _dianet(params: Arrays) -> DIAResNet:
    """The network of the public code's names; its stages are as wide as the file says."""
    depths = [
        len({name.split(".")[2] for name in params if name.startswith(f"layer{stage}.ModuleList.")})
        for stage in itertools.takewhile(
            lambda stage: f"layer{stage}.lstm.w_ih.0.seq.0.weight" in params, itertools.count(1)
        )
    ]
    bottleneck = "layer1.ModuleList.0.conv3.weight" in params
    features = params["conv1.weight"].shape[0]
    block = BottleneckBlock if bottleneck else BasicBlock
    backbone = DIAResNet(block, depths, width=features, **_settings())
    _fill_conv(backbone.stem.conv, params, "conv1")
    _fill_norm(backbone.stem.norm, params, "bn1")
    backbone.stages = nnx.List()
    for stage, depth in enumerate(depths):
        name = f"layer{stage + 1}"
        width = params[f"{name}.ModuleList.0.conv1.weight"].shape[0]
        stride = min(stage, 1) + 1
        (gated,) = backbone._blocks(features, width, depth, stride, **_settings())
        features = block.expansion * width
        for i, member in enumerate(gated.blocks):
            _fill_block(member, params, f"{name}.ModuleList.{i}")
        _fill_cell(gated.cell, params, f"{name}.lstm.")
        backbone.stages.append(nnx.List([gated]))
    return backbone


def _fill_block(block: ResidualBlock, params: Arrays, name: str) -> None:
    for i, unit in enumerate(block.branch, 1):
        _fill_conv(unit.conv, params, f"{name}.conv{i}")
        _fill_norm(unit.norm, params, f"{name}.bn{i}")
    if block.shortcut is not None:
        _fill_conv(block.shortcut.conv, params, f"{name}.downsample.0")
        _fill_norm(block.shortcut.norm, params, f"{name}.downsample.1")


def _san(params: Arrays) -> SAN:
    """The network of the public code's names."""
    levels = range(len({name for name in params if re.fullmatch(r"conv\d+\.weight", name)}))
    depths = [
        len({name.split(".")[1] for name in params if name.startswith(f"layer{level}.")})
        for level in levels
    ]
    width = params["conv_in.weight"].shape[0]
    backbone = SAN(depths, width=width, san_kind=_kind(params), **_settings())
    _fill_conv(backbone.stem.conv, params, "conv_in")
    _fill_norm(backbone.stem.norm, params, "bn_in")
    for i, level in enumerate(backbone.levels):
        _fill_conv(level.conv, params, f"conv{i}")
        _fill_norm(level.norm, params, f"bn{i}")
        for j, block in enumerate(level.blocks):
            _fill_attention(block, params, f"layer{i}.{j}.")
    return backbone


def _kind(params: Arrays) -> str:
    return "pairwise" if any("conv_p" in name for name in params) else "patchwise"


def _attention_block(params: Arrays, size: int) -> SelfAttentionBlock:
    features = params["bn1.weight"].shape[0]
    block = SelfAttentionBlock(features, size, _kind(params), **_settings())
    _fill_attention(block, params, "")
    return block


def _fill_attention(block: SelfAttentionBlock, params: Arrays, prefix: str) -> None:
    """A block of self-attention; its first layers for weights are one in the public code."""
    _fill_norm(block.norm, params, f"{prefix}bn1")
    _fill_norm(block.attended_norm, params, f"{prefix}bn2")
    _fill_dense(block.expand, params, f"{prefix}conv")
    attention, weights = block.attention, block.attention.weights
    maps = (attention.query, attention.key, attention.value)
    for i, pointwise in enumerate(maps, 1):
        _fill_dense(pointwise, params, f"{prefix}sam.conv{i}")
    features = attention.query.out_features
    norm = [params[f"{prefix}sam.conv_w.0.{name}"] for name in ("weight", "bias")]
    reduce = params[f"{prefix}sam.conv_w.2.weight"][:, :, 0, 0].T
    _fill_norm(weights.norm, params, f"{prefix}sam.conv_w.3")
    _fill_dense(weights.weigh, params, f"{prefix}sam.conv_w.5")
    if isinstance(weights, PairwiseWeights):
        _fill_dense(weights.place, params, f"{prefix}sam.conv_p")
        parts = (
            (weights.relation_norm, weights.reduce_relation, slice(features)),
            (weights.position_norm, weights.reduce_position, slice(features, None)),
        )
    else:
        # Offsets are inside there, and outside here.
        patch = features + jnp.arange(features * weights.size**2).reshape(features, -1).T.ravel()
        parts = (
            (weights.query_norm, weights.reduce_query, slice(features)),
            (weights.patch_norm, weights.reduce_patch, patch),
        )
        groups = weights.norm.num_features
        kernel, bias = weights.weigh.kernel[...], weights.weigh.bias[...]
        order = jnp.arange(groups * weights.size**2).reshape(groups, -1).T.ravel()
        weights.weigh.kernel[...], weights.weigh.bias[...] = kernel[:, order], bias[order]
    for part_norm, part_reduce, rows in parts:
        part_norm.scale[...], part_norm.bias[...] = (array[rows] for array in norm)
        part_reduce.kernel[...] = reduce[rows]


def _fill_conv(conv: nnx.Module, params: Arrays, name: str) -> None:
    conv.kernel[...] = params[f"{name}.weight"].transpose(2, 3, 1, 0)


def _fill_norm(norm: nnx.Module, params: Arrays, name: str) -> None:
    norm.scale[...], norm.bias[...] = params[f"{name}.weight"], params[f"{name}.bias"]


def _fill_dense(dense: nnx.Module, params: Arrays, name: str) -> None:
    """A dense weight [out, in] or that of a 1x1 convolution, with its bias if it has one."""
    weight = params[f"{name}.weight"]
    dense.kernel[...] = weight.reshape(weight.shape[:2]).T
    if dense.bias is not None:
        dense.bias[...] = params[f"{name}.bias"]


def _fill_cell(cell: DIALSTM, params: Arrays, prefix: str) -> None:
    for reduced, name in ((cell.from_input, "w_ih"), (cell.from_hidden, "w_hh")):
        _fill_dense(reduced.reduce, params, f"{prefix}{name}.0.seq.0")
        _fill_dense(reduced.expand, params, f"{prefix}{name}.0.seq.2")
