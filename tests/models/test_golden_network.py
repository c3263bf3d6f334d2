"""The whole network against an independent float64 implementation."""

import golden_network
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from skdsam_jax.losses import skdsam_loss
from skdsam_jax.models import global_average_pool


def exit_outputs(network, images, *, train):
    """Stages, and the features, projections and logits of every exit, shallow to deep."""
    stages = network.classifier.backbone(images, train=train)
    features, logits = network.exits(stages, train=train)
    features = (*features, global_average_pool(stages[-1]))
    logits = (*logits, network.classifier.dense(features[-1]))
    projections = tuple(
        projection(feature, train=train)
        for projection, feature in zip(
            network.projections, jax.lax.stop_gradient(features), strict=True
        )
    )
    return stages, features, projections, logits


@pytest.fixture(scope="module")
def golden():
    return golden_network.load()


@pytest.fixture(scope="module")
def measured(golden):
    """What our network computes for the golden batch, under the golden names."""
    with jax.enable_x64(True):
        return compute(golden)


def compute(golden):
    network = golden_network.Network(width=4, num_classes=10, dtype=jnp.float64, rngs=nnx.Rngs(0))
    modules = (network.classifier, network.exits, network.projections)
    golden_network.fill(golden, *modules)
    torch_names = {id(variable): name for variable, name in golden_network.variables(*modules)}
    graphdef, params, statistics = nnx.split(network, nnx.Param, nnx.BatchStat)
    images, labels = jnp.asarray(golden["images"]), jnp.asarray(golden["labels"])

    def merged(params, statistics):
        return nnx.merge(graphdef, params, statistics, copy=True)

    def loss(params, statistics):
        network = merged(params, statistics)
        outputs = stages, features, projections, logits = exit_outputs(network, images, train=True)
        value, _ = skdsam_loss(logits, features, projections, labels)
        heads = merged(params, statistics).exits.heads
        links = [
            head.link(stage, train=True) for head, stage in zip(heads, stages[:-1], strict=True)
        ]
        names = ("stage", "features", "projections", "logits", "link")
        results = dict(zip(names, (*outputs, links), strict=True))
        return value, (nnx.state(network, nnx.BatchStat), results)

    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(0.02, momentum=0.9))

    @jax.jit
    def step(params, statistics, state):
        (value, (statistics, outputs)), gradient = jax.value_and_grad(loss, has_aux=True)(
            params, statistics
        )
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return params, statistics, state, {"loss": value, **outputs}, gradient

    @jax.jit
    def evaluate(params, statistics):
        return exit_outputs(merged(params, statistics), images, train=False)[-1]

    results = {"eval/logits": evaluate(params, statistics)}
    state, losses = optimizer.init(params), []
    for index in range(5):
        params, statistics, state, outputs, gradient = step(params, statistics, state)
        losses.append(outputs["loss"])
        if index == 0:
            results |= {f"train/{name}": value for name, value in outputs.items()}
            for (_, variable), leaf in zip(
                nnx.to_flat_state(nnx.state(network, nnx.Param)),
                jax.tree.leaves(gradient),
                strict=True,
            ):
                results[f"grad/{torch_names[id(variable)]}"] = leaf
    trained = merged(params, statistics).classifier
    results["sgd/losses"] = jnp.stack(losses)
    results["sgd/stem"] = trained.backbone.stem.conv.kernel[...]
    results["sgd/fc3"] = trained.dense.kernel[...]
    flat = {}
    for name, value in results.items():
        per_exit = isinstance(value, (list, tuple))
        flat |= {f"{name}{i}": x for i, x in enumerate(value)} if per_exit else {name: value}
    return {name: np.asarray(array) for name, array in flat.items()}


def test_every_golden_result_is_compared(golden, measured):
    inputs = {name for name in golden if name.startswith("param/")} | {"images", "labels"}
    assert set(measured) == set(golden) - inputs


@pytest.mark.parametrize("group", ["train", "eval", "grad", "sgd"])
def test_matches_the_golden_network(group, golden, measured):
    names = [name for name in measured if name.startswith(f"{group}/")]
    assert names
    for name in names:
        expected = golden[name]
        if group == "grad" or name in ("sgd/stem", "sgd/fc3"):
            expected = golden_network.from_torch(expected)
        actual = measured[name]
        assert actual.dtype == np.float64, name
        tolerance = 1e-8 * np.abs(expected).max() + 1e-12
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, err_msg=name)


def test_converter_fills_every_variable(golden):
    with jax.enable_x64(True):
        network = nnx.eval_shape(
            lambda: golden_network.Network(
                width=4, num_classes=10, dtype=jnp.float64, rngs=nnx.Rngs(0)
            )
        )
        pairs = list(
            golden_network.variables(network.classifier, network.exits, network.projections)
        )
    variables = [id(variable) for variable, _ in pairs]
    names = [name for _, name in pairs]
    assert len(set(variables)) == len(variables)
    assert len(variables) == len(nnx.to_flat_state(nnx.state(network, nnx.Param)))
    assert set(names) == {name.removeprefix("param/") for name in golden if "param/" in name}
