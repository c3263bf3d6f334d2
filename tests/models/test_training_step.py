"""A training step of every family under every method, and through the stem of large images.

`tests/methods/test_contract.py` has every method on a ResNet with the small stem.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import TINY

from skdsam_jax.methods import METHODS, create_method
from skdsam_jax.models.variables import Functional

CLASSES = 5
IMAGENET = {"imagenet_resnet": functools.partial(TINY["resnet"], stem="imagenet")}
BACKBONES = {name: build for name, build in TINY.items() if name != "resnet"} | IMAGENET


def _options(method):
    # The thesis' energy leaves projections next to no gradient.
    energy = {"energy": "dot"} if "energy" in METHODS[method].Options.__dataclass_fields__ else {}
    return METHODS[method].Options(name=method, **energy)


@pytest.mark.parametrize(
    ("family", "method"),
    [
        # What a DIANet is to methods stands in `test_dianet.py`.
        *(
            (family, method)
            for family in TINY
            if family not in {"resnet", "dianet"}
            for method in METHODS
        ),
        ("imagenet_resnet", "skdsam"),
    ],
)
def test_step(family, method):
    def build(rngs):
        backbone = BACKBONES[family](rngs=rngs)
        return create_method(_options(method), backbone, CLASSES, rngs=rngs)

    side = 32 if family in IMAGENET else 8
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(4, side, side, 3)), jnp.float32)
    labels = jnp.arange(4)
    network = Functional(build)

    @jax.jit
    def step(params, model_state):
        def loss(params):
            module = network.merge(params, model_state)
            value, _ = module.loss(images, labels)
            return value, network.split(module)[1]

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        params = jax.tree.map(lambda x, g: x - 0.001 * g, params, gradient)
        return value, gradient, params, after

    params, model_state = jax.jit(network.init)(0)
    first, gradient, params, after = step(params, model_state)
    second, *_ = step(params, after)
    assert second < first
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), path
        assert np.any(np.asarray(leaf) != 0), path
    for (path, new), old in zip(
        jax.tree_util.tree_leaves_with_path(after), jax.tree.leaves(model_state), strict=True
    ):
        assert np.any(np.asarray(new) != np.asarray(old)), path
