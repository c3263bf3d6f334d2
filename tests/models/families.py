"""The backbones of the table without their arrays, and a shallow, narrow network of each family."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models import create_backbone
from skdsam_jax.models.densenet import DenseNet
from skdsam_jax.models.dianet import DIAResNet
from skdsam_jax.models.initialization import Initializer
from skdsam_jax.models.resnet import BasicBlock, Block8x64d, ResNet
from skdsam_jax.models.wide_resnet import WideResNet

TINY = {
    "resnet": functools.partial(ResNet, BasicBlock, (1, 1, 1), width=4),
    "dianet": functools.partial(DIAResNet, BasicBlock, (1, 2, 1), width=4),
    "resnext": functools.partial(ResNet, Block8x64d, (1, 1, 1), width=2),
    "wide_resnet": functools.partial(WideResNet, 10, 2, width=4),
    "densenet": functools.partial(DenseNet, (1, 2, 1), width=8),
}


def abstract(build: Callable[[nnx.Rngs], nnx.Module]) -> nnx.Module:
    """The module that `build` makes; nothing is allocated."""
    return Initializer(build).abstract


@functools.cache
def abstract_backbone(name: str, **options: object) -> nnx.Module:
    return abstract(lambda rngs: create_backbone(name, rngs=rngs, **options))


def abstract_call(module: nnx.Module, inputs: Any, *, train: bool = True) -> tuple[Any, nnx.State]:
    """Shapes of what a module computes, and of its variables after the call."""
    graphdef, state = nnx.split(module)

    def call(state: nnx.State, inputs: Any) -> tuple[Any, nnx.State]:
        module = nnx.merge(graphdef, state, copy=True)
        return module(inputs, train=train), nnx.state(module)

    return jax.eval_shape(call, state, inputs)


def abstract_stages(
    backbone: nnx.Module, size: tuple[int, int], *, train: bool = True
) -> tuple[tuple[jax.ShapeDtypeStruct, ...], nnx.State]:
    """`abstract_call` of a backbone on two images."""
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    return abstract_call(backbone, images, train=train)


def count(module: nnx.Module) -> int:
    """How many trainable parameters a module has."""
    variables = jax.tree.leaves(nnx.state(module, nnx.Param))
    return sum(math.prod(variable.shape) for variable in variables)
