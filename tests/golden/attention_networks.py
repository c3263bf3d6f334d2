"""Compares the golden entries of DIANet and SAN: outputs and gradients.

Parameters keep their PyTorch names and layouts and are written into a network within the function
that is differentiated, so that gradients come in the same layouts. All sizes are read from them.
"""

import itertools
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


def _settings() -> dict[str, Any]:
    return {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}


def _compare(
    entry: Entry, compute: Callable[[Arrays, Arrays], tuple[jax.Array, Arrays]]
) -> Iterator[Comparison]:
    """Compares what `compute` makes of parameters and inputs, (loss, outputs), and gradients.

    Arrays that the file leaves out are not compared.
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
            yield _comparison(name, array, entry[name])


def _comparison(name: str, computed: np.ndarray, golden: np.ndarray) -> Comparison:
    return Comparison(name, computed, golden, VALUE if name.startswith("out/") else GRADIENT)


def _compare_network(entry: Entry, build: Callable[[Arrays], nnx.Module]) -> Iterator[Comparison]:
    """Compares stages and logits of a backbone whose last stage is classified by `fc`."""

    def compute(params: Arrays, inputs: Arrays) -> tuple[jax.Array, Arrays]:
        def classify(*, train: bool) -> tuple[tuple[jax.Array, ...], jax.Array]:
            classes, features = params["fc.weight"].shape
            dense = Dense(features, classes, **_settings())
            _fill_dense(dense, params, "fc")
            stages = build(params)(inputs["images"], train=train)
            return stages, dense(global_average_pool(stages[-1]))

        stages, logits = classify(train=True)
        outputs = {f"stage{i}": stage for i, stage in enumerate(stages)}
        # From fresh running averages.
        outputs |= {"logits": logits, "logits_eval": classify(train=False)[1]}
        return (logits**2).sum(), outputs

    return _compare(entry, compute)


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
