"""Training steps of narrow backbones: of any method without computing, of the network alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from skdsam_jax.batch import Batch, Moment
from skdsam_jax.methods import METHODS, create_method
from skdsam_jax.models import Backbone, Classifier
from skdsam_jax.models.variables import Functional

Build = Callable[[nnx.Rngs], Backbone]


def check_method_attaches(method: str, build: Build) -> None:
    """Traces the gradient of a method's loss of four images of 8x8 pixels; nothing is computed."""
    network = Functional(
        lambda rngs: create_method(METHODS[method].Options(), build(rngs), 5, rngs=rngs)
    )

    def loss(params: dict, model_state: dict) -> jax.Array:
        images, labels, zero = jnp.zeros((4, 8, 8, 3)), jnp.arange(4), jnp.int32(0)
        batch = Batch(images, labels, labels, Moment(zero, 2, zero, 2, zero, jax.random.key(0)))
        return network.merge(params, model_state).loss(batch)[0]

    gradient = jax.eval_shape(jax.grad(loss), network.params, network.model_state)
    assert jax.tree.structure(gradient) == jax.tree.structure(network.params)


def check_step(build: Build) -> None:
    """A step along the gradient of cross-entropy lowers it and changes every running average."""
    network = Functional(lambda rngs: Classifier(build(rngs), 4, rngs=rngs))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 5, 3)), jnp.float32)

    @jax.jit
    def step(params: dict, model_state: dict) -> tuple[jax.Array, dict, dict]:
        def loss(params: dict) -> tuple[jax.Array, dict]:
            module = network.merge(params, model_state)
            logits = module(images, train=True)
            return -jnp.diagonal(jax.nn.log_softmax(logits)).mean(), network.split(module)[1]

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return value, jax.tree.map(lambda x, g: x - 0.01 * g, params, gradient), after

    params, model_state = jax.jit(network.init)(0)
    first, params, after = step(params, model_state)
    second, *_ = step(params, after)
    assert second < first
    for (path, new), old in zip(
        jax.tree_util.tree_leaves_with_path(after), jax.tree.leaves(model_state), strict=True
    ):
        assert np.any(np.asarray(new) != np.asarray(old)), path
