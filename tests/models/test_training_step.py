"""A training step of families under methods that read stages, and through the stem of large images.

`tests/methods/test_contract.py` has every method on a ResNet with the small stem.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import TINY

from skdsam_jax.batch import Batch, Moment
from skdsam_jax.methods import METHODS, TrainingSet, create_method
from skdsam_jax.models.variables import Functional

CLASSES = 5
IMAGENET = {"imagenet_resnet": functools.partial(TINY["resnet"], stem="imagenet")}
BACKBONES = {name: build for name, build in TINY.items() if name != "resnet"} | IMAGENET


def _options(method):
    # The thesis' energy leaves projections next to no gradient.
    energy = {"energy": "dot"} if "energy" in METHODS[method].Options.__dataclass_fields__ else {}
    return METHODS[method].Options(name=method, **energy)


# Methods that read more of a backbone than its last stage; of others a ResNet says enough.
READING_STAGES = (
    *("byot", "dks", "frskd", "lightskd", "mixskd", "msd", "okddip", "sad", "skdsam"),
    *("uskd", "zipf"),
)


def _pairs():
    """Every such method on some family, every family under several of them, a few of them quick.

    A product of both would grow too fast: each pair takes seconds to compile.
    """
    quick = [("densenet", "msd"), ("wide_resnet", "frskd")]
    families = itertools.cycle(("densenet", "resnext", "wide_resnet"))
    sampled = {*zip(families, READING_STAGES, strict=False), ("imagenet_resnet", "skdsam")}
    sampled -= set(quick)
    return [*quick, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in sorted(sampled))]


def _batch(method, anchors, side):
    """Random images, as many of each anchor as the method reads, in the second step of a run."""
    count = anchors * method.reads(method.options).count
    images = np.random.default_rng(0).normal(size=(count, side, side, 3))
    labels = jnp.arange(anchors, dtype=jnp.int32).repeat(count // anchors)
    moment = Moment(
        epoch=jnp.int32(0),
        epochs=2,
        step=jnp.int32(1),
        steps=8,
        epoch_step=jnp.int32(1),
        key=jax.random.key(0),
    )
    return Batch(
        jnp.asarray(images, jnp.float32), labels, jnp.arange(count, dtype=jnp.int32), moment
    )


@pytest.mark.parametrize(("family", "method"), _pairs())
def test_step(family, method):
    def build(rngs):
        backbone = BACKBONES[family](rngs=rngs)
        return create_method(_options(method), backbone, CLASSES, rngs=rngs)

    network = Functional(build)
    params, model_state = jax.jit(network.init)(0)
    built = network.merge(params, model_state)
    batch = _batch(built, 4, 32 if family in IMAGENET else 8)
    memory = built.initial_memory(
        TrainingSet(jnp.arange(64, dtype=jnp.int32) % CLASSES, CLASSES, 4)
    )

    @jax.jit
    def step(params, model_state):
        def loss(params):
            module = network.merge(params, model_state)
            value, _ = module.loss(batch, memory, {})
            return value, network.split(module)[1]

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        params = jax.tree.map(lambda x, g: x - 0.001 * g, params, gradient)
        return value, gradient, params, after

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
