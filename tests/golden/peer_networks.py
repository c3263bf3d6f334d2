"""Compares the golden entries of the peers' networks: outputs and gradients, in training mode.

Every variable is found under its PyTorch name: a convolution O, I, H, W, a dense weight out, in.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from comparison import Comparison
from flax import nnx

from skdsam_jax.models import Discriminator, FusionHead, SelfTeacher, ShallowExits
from skdsam_jax.models.resnet import BasicBlock, ResNet

Entry = Mapping[str, np.ndarray]
Named = Iterator[tuple[nnx.Variable, str]]
Outputs = dict[str, jax.Array]

# The largest difference relative to the largest golden value.
VALUE, GRADIENT = 1e-10, 1e-9


def check_frskd_bifpnc(entry: Entry) -> Iterator[Comparison]:
    """FRSKD's self-teacher."""
    parameters = _parameters(entry)

    def build(**settings: Any) -> SelfTeacher:
        sizes = {name: parameters[name] for name in ("width", "depth")}
        return SelfTeacher(parameters["channels"], parameters["classes"], **sizes, **settings)

    def call(teacher: SelfTeacher, stages: list[jax.Array]) -> Outputs:
        refined, logits = teacher(stages, train=True)
        return {**_numbered("features", refined), "logits": logits}

    yield from _compare(entry, build, call, _self_teacher)


def check_mixskd_heads(entry: Entry) -> Iterator[Comparison]:
    """MixSKD's exits, its ensemble of them and its discriminators."""
    parameters = _parameters(entry)
    ratio, partner = float(entry["in/mixing_ratio"]), jnp.asarray(entry["in/partner"])

    def build(**settings: Any) -> MixskdParts:
        return MixskdParts(
            parameters["blocks"], parameters["width"], parameters["classes"], **settings
        )

    def call(parts: MixskdParts, stages: list[jax.Array]) -> Outputs:
        maps = (*parts.exits.feature_maps(tuple(stages), train=True), stages[-1])
        _, logits = parts.exits.classify(maps[:-1])
        pairs = [jnp.split(images, 2) for images in maps]
        mixed_maps = [ratio * clean + (1 - ratio) * clean[partner] for clean, _ in pairs]
        maps_of_mixed = [mixed for _, mixed in pairs]
        scores = [
            discriminate(jnp.concatenate(pair))
            for discriminate, *pair in zip(
                parts.discriminators, mixed_maps, maps_of_mixed, strict=True
            )
        ]
        return {
            **_numbered("logits", logits),
            **_numbered("head_features", maps),
            "ensemble_logits": parts.fusion(mixed_maps),
            "ensemble_mixed_logits": parts.fusion(maps_of_mixed),
            **_numbered("scores", scores),
        }

    yield from _compare(entry, build, call, _mixskd_parts)


class MixskdParts(nnx.Module):
    """What MixSKD trains beside a ResNet."""

    def __init__(self, blocks: list[int], width: int, classes: int, **settings: Any) -> None:
        backbone = ResNet(BasicBlock, blocks, width=width, **settings)
        features = backbone.channels[-1]
        self.depths = backbone.depths
        self.exits = ShallowExits(backbone, classes, head="branch", **settings)
        self.fusion = FusionHead(features, len(blocks), classes, **settings)
        self.discriminators = nnx.List(Discriminator(features, **settings) for _ in blocks)


def _parameters(entry: Entry) -> dict[str, Any]:
    return json.loads(str(entry["parameters"]))


def _numbered(name: str, arrays: Any) -> Outputs:
    return {f"{name}{i}": array for i, array in enumerate(arrays)}


def _compare(
    entry: Entry,
    build: Callable[..., nnx.Module],
    call: Callable[[Any, list[jax.Array]], Outputs],
    named: Callable[[Any], Named],
) -> list[Comparison]:
    """Outputs, the sum of their squares, and its gradients to parameters and inputs."""
    with jax.enable_x64(True):
        settings = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        module = nnx.eval_shape(lambda: build(**settings, rngs=nnx.Rngs(0)))
        names = {id(variable): name for variable, name in named(module)}
        graphdef, abstract, statistics = nnx.split(module, nnx.Param, ...)
        paths = nnx.to_flat_state(abstract)
        params = {
            name: jnp.asarray(_from_torch(entry[f"in/param/{name}"]))
            for name in (names[id(variable)] for _, variable in paths)
        }
        # Train mode reads no running average.
        statistics = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), statistics)
        stages = [jnp.asarray(array) for array in _sequence(entry, "in/features")]

        @jax.jit
        def compute(params: Outputs, stages: list[jax.Array]) -> Any:
            def loss(params: Outputs, stages: list[jax.Array]) -> tuple[jax.Array, Outputs]:
                filled = nnx.from_flat_state(
                    (path, variable.replace(params[names[id(variable)]]))
                    for path, variable in paths
                )
                outputs = call(nnx.merge(graphdef, filled, statistics, copy=True), stages)
                return sum((output**2).sum() for output in outputs.values()), outputs

            return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, stages)

        (loss, outputs), (to_params, to_stages) = compute(params, stages)
    values = {"loss": loss, **outputs}
    gradients = {
        **_numbered("grad_features", to_stages),
        **{f"grad_param/{name}": _to_torch(array) for name, array in to_params.items()},
    }
    return [
        Comparison(f"out/{name}", np.asarray(array), entry[f"out/{name}"], tolerance)
        for arrays, tolerance in ((values, VALUE), (gradients, GRADIENT))
        for name, array in arrays.items()
    ]


def _sequence(entry: Entry, name: str) -> Iterator[np.ndarray]:
    index = 0
    while f"{name}{index}" in entry:
        yield entry[f"{name}{index}"]
        index += 1


def _from_torch(array: np.ndarray) -> np.ndarray:
    return array.transpose({1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[array.ndim])


def _to_torch(array: jax.Array) -> np.ndarray:
    return np.asarray(array).transpose({1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[array.ndim])


def _self_teacher(teacher: SelfTeacher) -> Named:
    """The variables of a self-teacher with their names in FRSKD's code."""
    layer = "layers.0"
    # A convolution and its normalisation, on their own or behind something without parameters.
    for units, name in (
        (teacher.lateral, "lat_conv.{}"),
        (teacher.second_lateral, "lat_conv2.{}"),
        (teacher.up, "up_sample.{}.1"),
        (teacher.down, "down_sample.{}.1"),
    ):
        for i, unit in enumerate(units):
            yield from _conv_norm(unit, f"{layer}.{name.format(i)}.conv.0", "0", "1")
    for units, name in ((teacher.top_down, "up_conv"), (teacher.bottom_up, "down_conv")):
        for i, unit in enumerate(units):
            for j, (depthwise, pointwise) in enumerate(
                zip(unit.depthwise, unit.pointwise, strict=True)
            ):
                # All but the first begin with a ReLU.
                first, prefix = min(j, 1), f"{layer}.{name}.{i}.conv.{j}"
                yield depthwise.kernel, f"{prefix}.{first}.weight"
                yield from _conv_norm(pointwise, prefix, f"{first + 1}", f"{first + 2}")
    for fusions, name in ((teacher.up_fusion, "up"), (teacher.down_fusion, "down")):
        for i, fusion in enumerate(fusions):
            yield fusion.weights, f"{layer}.{name}_weight.{i}"
    yield from _dense(teacher.dense, "fc")


def _mixskd_parts(parts: MixskdParts) -> Named:
    """The variables of MixSKD's parts with their names in Self-KD-Lib."""
    for i, (head, dense) in enumerate(zip(parts.exits.heads, parts.exits.dense, strict=True), 1):
        blocks = iter(head.branch.layers)
        for stage, depth in enumerate(parts.depths[i:]):
            for index in range(depth):
                name = f"auxiliary_classifier.block_extractor{i}.{stage}.{index}"
                block = next(blocks)
                for j, unit in enumerate(block.branch, 1):
                    yield from _conv_norm(unit, name, f"conv{j}", f"bn{j}")
                if block.shortcut is not None:
                    yield from _conv_norm(block.shortcut, f"{name}.downsample", "0", "1")
        yield from _dense(dense, f"auxiliary_classifier.fc{i}")
    yield parts.fusion.conv.kernel, "final_aux_classifier.conv.weight"
    yield from _dense(parts.fusion.dense, "final_aux_classifier.fc")
    for i, discriminator in enumerate(parts.discriminators):
        yield from _dense(discriminator.inner, f"discriminators.{i}.classifier.0")
        yield from _dense(discriminator.outer, f"discriminators.{i}.classifier.2")


def _conv_norm(unit: nnx.Module, name: str, convolution: str, norm: str) -> Named:
    yield unit.conv.kernel, f"{name}.{convolution}.weight"
    yield unit.norm.scale, f"{name}.{norm}.weight"
    yield unit.norm.bias, f"{name}.{norm}.bias"


def _dense(dense: nnx.Module, name: str) -> Named:
    yield dense.kernel, f"{name}.weight"
    yield dense.bias, f"{name}.bias"
