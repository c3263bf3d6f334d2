"""What every method of the table must do. A new method is tested here without a line of its own.

Compiling dominates the time of these tests, so everything that reads a gradient shares one
compiled step per variant, and the backbone has three stages of one block.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from skdsam_jax.methods import METHODS, create_method
from skdsam_jax.models import BasicBlock, Classifier, ResNet
from skdsam_jax.models.variables import Functional, set_variables

CLASSES, BATCH, SIZE, WIDTH = 5, 32, 16, 4

# Every method with its defaults, and the choices that change what it builds or how it learns.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in METHODS},
    "byot with SepConv heads": ("byot", {"head": "sepconv"}),
    "skdsam scaled_dot, full gradient": (
        "skdsam",
        {"energy": "scaled_dot", "attention_gradient": "full"},
    ),
    "skdsam dot, no gradient": ("skdsam", {"energy": "dot", "attention_gradient": "none"}),
    "skdsam uniform without links": ("skdsam", {"energy": "uniform", "attention_links": False}),
}


def _backbone(rngs):
    return ResNet(BasicBlock, (1, 1, 1), width=WIDTH, rngs=rngs)


def _build(variant, rngs):
    name, changes = VARIANTS[variant]
    options = METHODS[name].Options(name=name, **changes)
    return create_method(options, _backbone(rngs), CLASSES, rngs=rngs)


def _batch():
    """Classes that differ in colour."""
    generator = np.random.default_rng(0)
    labels = np.arange(BATCH) % CLASSES
    colours = generator.normal(size=(CLASSES, 1, 1, 3))
    images = colours[labels] + 0.3 * generator.normal(size=(BATCH, SIZE, SIZE, 3))
    return jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32)


@dataclasses.dataclass
class Compiled:
    """One variant: its variables, and a compiled step of plain gradient descent."""

    network: Functional
    init: Any
    variables: Any
    step: Any


@functools.cache
def _compile(variant):
    network = Functional(lambda rngs: _build(variant, rngs))
    optimizer = optax.sgd(0.005, momentum=0.9)

    @jax.jit
    def step(params, model_state, momentum):
        def loss(params):
            method = network.merge(params, model_state)
            scalar, report = method.loss(*_batch())
            return scalar, (*report, network.split(method)[1])

        result, gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, momentum = optimizer.update(gradient, momentum)
        return result, gradient, optax.apply_updates(params, updates), momentum

    init = jax.jit(network.init)
    params, model_state = init(0)
    return Compiled(network, init, (params, model_state, optimizer.init(params)), step)


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


@pytest.fixture
def compiled(variant):
    return _compile(variant)


def test_options_are_frozen_and_name_the_method(variant):
    name, changes = VARIANTS[variant]
    options = METHODS[name].Options(name=name, **changes)
    assert hash(options) is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.name = "other"


def test_loss_terms_and_gradients_have_their_shapes_and_are_finite(compiled):
    (scalar, (terms, outputs, after)), gradient, *_ = compiled.step(*compiled.variables)
    exits = len(outputs.logits)
    assert scalar.shape == ()
    assert jnp.isfinite(scalar)
    assert terms
    for values in terms.values():
        assert values.shape in ((BATCH,), (exits, BATCH), (exits - 1, BATCH))
        assert jnp.isfinite(values).all()
    assert all(logits.shape == (BATCH, CLASSES) for logits in outputs.logits)
    assert len({feature.shape for feature in outputs.features}) == 1
    if outputs.attention is not None:
        assert outputs.attention.shape == (exits - 1, BATCH)
        np.testing.assert_allclose(outputs.attention.sum(0), 1, rtol=1e-6)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert jax.tree.structure(after) == jax.tree.structure(compiled.network.model_state)


def test_learns_a_toy_problem(compiled):
    params, model_state, momentum = compiled.variables
    labels, accuracy = _batch()[1], 0.0
    for _ in range(150):
        (_, (_, outputs, model_state)), _, params, momentum = compiled.step(
            params, model_state, momentum
        )
        accuracy = jnp.mean(jnp.argmax(outputs.logits[-1], -1) == labels)
        # Momentum makes some methods bounce back from it for a while.
        if accuracy >= 0.95:
            return
    pytest.fail(f"accuracy {accuracy} after 150 steps")


def test_probabilities_serve_as_labels(compiled):
    images, labels = _batch()
    (scalar, _), *_ = compiled.step(*compiled.variables)

    @jax.jit
    def loss(params, model_state):
        method = compiled.network.merge(params, model_state)
        return method.loss(images, jax.nn.one_hot(labels, CLASSES))[0]

    np.testing.assert_allclose(loss(*compiled.variables[:2]), scalar, rtol=1e-5)


def test_distillation_terms_do_not_train_the_deepest_exit(compiled):
    params, model_state, _ = compiled.variables

    @jax.jit
    @jax.grad
    def gradient(dense):
        replaced = {**params, "classifier": {**params["classifier"], "dense": dense}}
        terms = compiled.network.merge(replaced, model_state).loss(*_batch())[1][0]
        distilled = [jnp.mean(terms[name]) for name in ("kl", "feature") if name in terms]
        return sum(distilled, start=jnp.zeros(()))

    assert not any(leaf.any() for leaf in gradient(params["classifier"]["dense"]).values())


def test_inference_is_the_deepest_exit_and_holds_no_head(compiled):
    params, model_state, _ = compiled.variables
    images, _ = _batch()
    # Averages of an untrained network would hide whether they are used.
    model_state = jax.tree.map(lambda x: x + 0.3, model_state)

    @jax.jit
    def deepest(params, model_state):
        method = compiled.network.merge(params, model_state)
        return method(images), method.outputs(images, train=False).logits[-1]

    inference, exit_logits = deepest(params, model_state)
    np.testing.assert_allclose(inference, exit_logits, rtol=1e-6)

    def build(rngs):
        return Classifier(_backbone(rngs), CLASSES, rngs=rngs)

    classifier = Functional(build)
    assert jax.tree.structure(classifier.params) == jax.tree.structure(params["classifier"])
    alone = classifier.merge(params["classifier"], model_state["classifier"])
    np.testing.assert_allclose(jax.jit(lambda: alone(images))(), inference, rtol=1e-5, atol=1e-6)


def test_the_seed_decides_the_parameters():
    compiled = _compile("skdsam")
    (params, _), (other, _) = compiled.init(0), compiled.init(1)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, params, compiled.variables[0])))
    kernels = (tree["classifier"]["dense"]["kernel"] for tree in (params, other))
    assert not np.array_equal(*kernels)


def test_set_variables_fills_a_module_in_place():
    params, model_state, _ = _compile("skdsam").variables
    rngs = nnx.Rngs(1)
    classifier = Classifier(_backbone(rngs), CLASSES, rngs=rngs)
    set_variables(classifier, params["classifier"], model_state["classifier"])
    np.testing.assert_array_equal(
        classifier.dense.kernel[...], params["classifier"]["dense"]["kernel"]
    )


def test_set_variables_names_what_does_not_fit():
    params, model_state, _ = _compile("skdsam").variables
    classifier = Functional(lambda rngs: Classifier(_backbone(rngs), 7, rngs=rngs))
    with pytest.raises(ValueError, match="dense/bias"):
        classifier.merge(params["classifier"], model_state["classifier"])
    with pytest.raises(KeyError, match="dense"):
        classifier.merge({"backbone": params["classifier"]["backbone"]}, model_state["classifier"])
