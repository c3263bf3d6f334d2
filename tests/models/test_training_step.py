"""A training step of every family, ResNet's aside, under the two kinds of heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import TINY

from skdsam_jax.methods import METHODS, create_method
from skdsam_jax.models.variables import Functional

CLASSES = 5
OPTIONS = {
    "skdsam": METHODS["skdsam"].Options(name="skdsam", energy="dot"),
    "byot": METHODS["byot"].Options(name="byot"),
}


@pytest.mark.parametrize("method", OPTIONS)
@pytest.mark.parametrize("family", ["resnext", "wide_resnet", "densenet"])
def test_step(family, method):
    def build(rngs):
        return create_method(OPTIONS[method], TINY[family](rngs=rngs), CLASSES, rngs=rngs)

    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 3)), jnp.float32)
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
