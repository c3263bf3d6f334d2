"""What is SKDSAM's own: who learns from the attention weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_problem import SIZE, TINY

from skdsam_jax import losses
from skdsam_jax.batch import Batch, Moment
from skdsam_jax.methods import METHODS, create_method
from skdsam_jax.models import create_backbone
from skdsam_jax.models.variables import Functional

CLASSES = 5


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).normal(size=(8, SIZE, SIZE, 3)), jnp.float32)


def _batch(images, labels):
    return Batch(images, labels, jnp.arange(len(labels), dtype=jnp.int32))


def _network(**changes):
    def build(rngs):
        backbone = create_backbone(TINY, width=4, rngs=rngs)
        return create_method(METHODS["skdsam"].Options(**changes), backbone, CLASSES, rngs=rngs)

    return Functional(build)


def _attention_gradient(images, **changes):
    """The gradient of a function of the attention weights alone."""
    network = _network(energy="dot", **changes)
    params, model_state = jax.jit(network.init)(0)

    def function(params):
        weights = network.merge(params, model_state).outputs(images, train=True).attention
        return jnp.sum(weights[0] ** 2)

    return jax.jit(jax.grad(function))(params)


def _moves(gradient):
    return any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("attention_gradient", "projections", "network"),
    [("projections", True, False), ("full", True, True), ("none", False, False)],
)
def test_attention_trains_what_the_option_says(images, attention_gradient, projections, network):
    gradient = _attention_gradient(images, attention_gradient=attention_gradient)
    assert _moves(gradient["projections"]) is projections
    assert _moves(gradient["classifier"]["backbone"]) is network
    assert _moves(gradient["exits"]["heads"]) is network


def test_uniform_energy_builds_no_projections_and_weighs_alike(images):
    network = _network(energy="uniform")
    params, model_state = jax.jit(network.init)(0)
    assert "projections" not in params
    outputs = network.merge(params, model_state).outputs(images, train=False)
    assert outputs.attention.shape == (2, 8)
    np.testing.assert_allclose(outputs.attention, 1 / 2, rtol=1e-7)


def test_reported_attention_is_the_one_in_the_loss(images):
    network = _network(energy="dot")
    method = network.merge(*jax.jit(network.init)(0))
    _, (terms, outputs) = method.loss(_batch(images, jnp.zeros(8, jnp.int32)))
    np.testing.assert_array_equal(terms["attention"], outputs.attention)


def test_options_reach_the_loss(images):
    labels = jnp.arange(8, dtype=jnp.int32) % CLASSES
    changes = {
        "distillation_weight": 0.7,
        "feature_weight": 3.0,
        "temperature": 2.0,
        "attention_temperature": 1.5,
        "energy": "dot",
        "feature_reduction": "sum",
    }
    network = _network(**changes)
    params, model_state = jax.jit(network.init)(0)
    outputs = network.merge(params, model_state).outputs(images, train=True)
    scalar, _ = network.merge(params, model_state).loss(_batch(images, labels))
    expected, _ = losses.skdsam_loss(
        outputs.logits, outputs.features, outputs.projections, labels, **changes
    )
    np.testing.assert_allclose(scalar, expected, rtol=1e-6)
    default, _ = losses.skdsam_loss(outputs.logits, outputs.features, outputs.projections, labels)
    assert abs(float(default - expected)) > 0.1


def test_lambda_warms_up_and_the_shallow_exits_may_learn_from_labels(images):
    """Halfway through the warm-up lambda is half of what it will be."""
    labels = jnp.arange(8, dtype=jnp.int32) % CLASSES
    network = _network(warm_up=0.5, label_weight=0.3, distillation_weight=0.8)
    params, model_state = jax.jit(network.init)(0)
    outputs = network.merge(params, model_state).outputs(images, train=True)
    outputs = outputs.logits, outputs.features, outputs.projections

    @jax.jit
    def loss(step):
        moment = Moment(jnp.int32(0), 1, step, 40, step, jax.random.key(0))
        method = network.merge(params, model_state)
        return method.loss(_batch(images, labels)._replace(moment=moment))

    for step, distillation_weight in ((9, 0.4), (19, 0.8), (39, 0.8)):
        scalar, (terms, _) = loss(jnp.int32(step))
        expected, _ = losses.skdsam_loss(
            *outputs, labels, distillation_weight=distillation_weight, label_weight=0.3
        )
        np.testing.assert_allclose(scalar, expected, rtol=1e-6)
    assert terms["shallow_cross_entropy"].shape == (2, 8)


def test_links_mask_the_head_and_not_the_trunk(images):
    with_links, without = _network(), _network(attention_links=False)
    assert "link" in with_links.params["exits"]["heads"]["0"]
    assert "link" not in without.params["exits"]["heads"]["0"]


def test_skdsam_plus_is_skdsam_with_other_defaults(images):
    options = dataclasses.asdict(METHODS["skdsam_plus"].Options())
    others = dataclasses.asdict(METHODS["skdsam"].Options())
    changed = {name: value for name, value in options.items() if value != others[name]}
    assert changed == {"name": "skdsam_plus", "label_weight": 1.0, "warm_up": 0.5}
    labels = jnp.arange(8, dtype=jnp.int32) % CLASSES
    moment = Moment(jnp.int32(0), 1, jnp.int32(3), 40, jnp.int32(3), jax.random.key(0))
    batch = _batch(images, labels)._replace(moment=moment)
    plain = _network(label_weight=1.0, warm_up=0.5)
    plus = Functional(
        lambda rngs: create_method(
            METHODS["skdsam_plus"].Options(),
            create_backbone(TINY, width=4, rngs=rngs),
            CLASSES,
            rngs=rngs,
        )
    )
    params, model_state = jax.jit(plain.init)(0)
    assert plus.merge(params, model_state).loss(batch)[0] == pytest.approx(
        float(plain.merge(params, model_state).loss(batch)[0]), rel=1e-6
    )
