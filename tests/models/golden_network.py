"""Puts the golden network's parameters, named and laid out as PyTorch does, into our modules.

The names are `backbone.stem`, `backbone.stages.S.B.f|s`, `links.I`, `heads.I.J`, `proj.I` and
`fc.I`; in a sequence `f` of modules, entries 0 and 3 are convolutions, 1 and 4 their BatchNorms.
"""

import pathlib
from collections.abc import Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

from skdsam_jax.models import Classifier, Projection, ShallowExits, create_backbone

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "network.npz"


class Network(nnx.Module):
    """The modules of SKDSAM, under the names its method gives them."""

    def __init__(self, *, width: int, num_classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        settings = {"dtype": dtype, "param_dtype": dtype, "rngs": rngs}
        backbone = create_backbone("resnet18", width=width, **settings)
        self.classifier = Classifier(backbone, num_classes, **settings)
        self.exits = ShallowExits(backbone, num_classes, **settings)
        self.projections = nnx.List(
            Projection(backbone.channels[-1], **settings) for _ in backbone.channels
        )


def load() -> dict[str, np.ndarray]:
    """The golden arrays by name."""
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def fill(
    arrays: Mapping[str, np.ndarray],
    classifier: Classifier,
    exits: ShallowExits,
    projections: nnx.List,
) -> None:
    """Sets every trainable variable of the three modules from the `param/` entries of `arrays`."""
    for variable, name in variables(classifier, exits, projections):
        variable[...] = jnp.asarray(from_torch(arrays[f"param/{name}"]))


def from_torch(array: np.ndarray) -> np.ndarray:
    """A convolution O, I, H, W as H, W, I, O; a dense weight out, in as in, out."""
    return array.transpose({0: (), 1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[array.ndim])


def variables(
    classifier: Classifier, exits: ShallowExits, projections: nnx.List
) -> Iterator[tuple[nnx.Param, str]]:
    """Every trainable variable with its PyTorch name."""
    backbone = classifier.backbone
    yield from _conv_norm(backbone.stem, "backbone.stem", 0)
    for s, blocks in enumerate(backbone.stages):
        for b, block in enumerate(blocks):
            for u, unit in enumerate(block.branch):
                yield from _conv_norm(unit, f"backbone.stages.{s}.{b}.f", 3 * u)
            if block.shortcut is not None:
                yield from _conv_norm(block.shortcut, f"backbone.stages.{s}.{b}.s", 0)
    for i, head in enumerate(exits.heads):
        yield from _sepconv(head.link.sepconv, f"links.{i}.0")
        yield from _norm(head.link.norm, f"links.{i}.1")
        for j, sepconv in enumerate(head.sepconvs):
            yield from _sepconv(sepconv, f"heads.{i}.{j}")
    for i, projection in enumerate(projections):
        yield from _dense(projection.inner, f"proj.{i}.0")
        yield from _norm(projection.norm, f"proj.{i}.1")
        yield from _dense(projection.outer, f"proj.{i}.3")
    for i, dense in enumerate((*exits.dense, classifier.dense)):
        yield from _dense(dense, f"fc.{i}")


def _conv_norm(unit: nnx.Module, name: str, index: int) -> Iterator[tuple[nnx.Param, str]]:
    yield unit.conv.kernel, f"{name}.{index}.weight"
    yield from _norm(unit.norm, f"{name}.{index + 1}")


def _sepconv(sepconv: nnx.Module, name: str) -> Iterator[tuple[nnx.Param, str]]:
    for index, depthwise, pointwise in zip(
        (0, 4), sepconv.depthwise, sepconv.pointwise, strict=True
    ):
        yield depthwise.kernel, f"{name}.{index}.weight"
        yield from _conv_norm(pointwise, name, index + 1)


def _norm(norm: nnx.Module, name: str) -> Iterator[tuple[nnx.Param, str]]:
    yield norm.scale, f"{name}.weight"
    yield norm.bias, f"{name}.bias"


def _dense(dense: nnx.Module, name: str) -> Iterator[tuple[nnx.Param, str]]:
    yield dense.kernel, f"{name}.weight"
    yield dense.bias, f"{name}.bias"
