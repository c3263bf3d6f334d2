"""A function cut at its results computes what it computed whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax.evaluation.parts import Parts
from skdsam_jax.methods import METHODS, create_method
from skdsam_jax.models import BasicBlock, ResNet
from skdsam_jax.models.variables import Functional

SHAPE = jax.ShapeDtypeStruct((4, 16, 16, 3), jnp.float32)

# That of knowledge distillation is built from a folder; without exits, it is a classifier.
BUILT = [name for name in METHODS if name != "knowledge_distillation"]


@functools.cache
def _network(name):
    options = METHODS[name].Options()

    def build(rngs):
        backbone = ResNet(BasicBlock, (1, 1, 1), width=4, rngs=rngs)
        return create_method(options, backbone, 5, rngs=rngs)

    return Functional(build)


@functools.cache
def _parts(name):
    network = _network(name)
    return Parts(functools.partial(_logits, network), (network.params, network.model_state), SHAPE)


def _logits(network, variables, images):
    method = network.merge(*variables)
    return method.exit_outputs(method.classifier.backbone(images, train=False), train=False).logits


@pytest.mark.parametrize("name", BUILT)
def test_every_method_can_stop_and_go_on(name):
    """The deepest exit alone is the network that is left, and no exit costs more behind others."""
    parts, plain = _parts(name), _parts("cross_entropy")
    deepest = parts.count - 1
    assert parts.continues
    assert parts.flops_alone(deepest) == plain.flops_alone(0)
    through = [parts.flops_through(result) for result in range(parts.count)]
    assert through == sorted(through)
    for result in range(parts.count):
        assert 0 < parts.flops_alone(result) <= through[result]
    assert through[0] == parts.flops_alone(0)
    sizes = [leaf.size for leaf in jax.tree.leaves(_network(name).params)]
    read = zip(sizes, parts.variables_read(deepest), strict=False)
    assert sum(size for size, is_read in read if is_read) == sum(
        leaf.size for leaf in jax.tree.leaves(_network("cross_entropy").params)
    )


@pytest.mark.parametrize("name", ["byot", "skdsam_sla", "okddip", "lightskd"])
def test_parts_give_what_the_whole_gives(name, key):
    network, parts = _network(name), _parts(name)
    variables = jax.jit(network.init)(0)
    images = jax.random.normal(key, SHAPE.shape)
    expected = jax.jit(functools.partial(_logits, network))(variables, images)
    carried = (images,)
    for result in range(parts.count):
        logits, carried = jax.jit(parts.part(result))(variables, carried)
        np.testing.assert_allclose(logits, expected[result], rtol=1e-5, atol=1e-6)
    assert carried == ()
    alone = jax.jit(parts.alone(0))(variables, images)
    np.testing.assert_allclose(alone, expected[0], rtol=1e-5, atol=1e-6)


def _two(variables, images):
    """Two results that share a matrix product, and read something that is made of no image."""
    first = images @ variables["first"]
    scale = jnp.exp(variables["scale"])
    return first * scale, (first @ variables["second"]) * scale


VARIABLES = {
    "first": jnp.arange(12.0).reshape(3, 4),
    "scale": jnp.float32(0.5),
    "second": jnp.ones((4, 2)),
}


def test_only_what_depends_on_images_is_carried():
    images = jnp.arange(15.0).reshape(5, 3)
    parts = Parts(_two, VARIABLES, images)
    first, carried = parts.part(0)(VARIABLES, (images,))
    assert [array.shape for array in carried] == [(5, 4)]
    # Rows that are left out are not needed for the others.
    second, rest = parts.part(1)(VARIABLES, (carried[0][2:4],))
    expected = _two(VARIABLES, images)
    np.testing.assert_array_equal(first, expected[0])
    np.testing.assert_allclose(second, expected[1][2:4], rtol=1e-6)
    assert rest == ()
    assert parts.variables_read(0) == [True, True, False]
    assert (parts.flops_alone(0), parts.flops_through(1)) == (2 * 3 * 4, 2 * 3 * 4 + 2 * 4 * 2)


@pytest.mark.parametrize("side", [3, 5])
def test_without_images_in_front_each_part_begins_again(side):
    """Even if there are as many images as features, so that shapes alone do not tell."""

    def moved(variables, images):
        across = (images @ variables["first"]).T
        return across.sum(0)[:, None], (across.T @ variables["second"])

    images = jnp.ones((side, 3))
    parts = Parts(moved, VARIABLES, images)
    assert not parts.continues
    _, carried = parts.part(0)(VARIABLES, (images,))
    np.testing.assert_array_equal(carried[0], images)
    second, _ = parts.part(1)(VARIABLES, carried)
    np.testing.assert_allclose(second, moved(VARIABLES, images)[1], rtol=1e-6)
    assert parts.flops_through(1) == parts.flops_alone(0) + parts.flops_alone(1)


def test_a_result_twice_is_computed_once():
    def same(variables, images):
        logits = images @ variables["first"]
        return logits, logits

    images = jnp.ones((5, 3))
    parts = Parts(same, VARIABLES, images)
    first, carried = parts.part(0)(VARIABLES, (images,))
    second, _ = parts.part(1)(VARIABLES, carried)
    np.testing.assert_array_equal(first, second)
    assert parts.flops_through(1) == parts.flops_through(0) == 2 * 3 * 4
