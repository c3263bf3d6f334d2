"""FLOPs are those that a pencil finds."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from skdsam_jax.evaluation.flops import count_flops
from skdsam_jax.evaluation.parts import Parts
from skdsam_jax.models import Classifier, create_backbone
from skdsam_jax.models.operations import convolution, depthwise_convolution
from skdsam_jax.models.variables import Functional

IMAGES = jax.ShapeDtypeStruct((2, 8, 8, 6), jnp.float32)


def _count(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return count_flops(jax.make_jaxpr(function)(*arguments).jaxpr.eqns)


def _convolve(images, kernel, stride=1, groups=1):
    return convolution(
        images,
        kernel,
        (stride, stride),
        ((1, 1), (1, 1)),
        feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize(
    ("function", "kernel", "expected"),
    [
        (_convolve, (3, 3, 6, 10), 2 * 2 * 64 * 10 * 9 * 6),
        (lambda x, k: _convolve(x, k, stride=2), (3, 3, 6, 10), 2 * 2 * 16 * 10 * 9 * 6),
        # In groups, though a CPU multiplies the zeros between them.
        (lambda x, k: _convolve(x, k, groups=2), (3, 3, 3, 10), 2 * 2 * 64 * 10 * 9 * 3),
        # Though a CPU adds shifted products in place of a convolution.
        (depthwise_convolution, (3, 3, 1, 6), 2 * 2 * 64 * 6 * 9),
        (jax.jit(_convolve), (3, 3, 6, 10), 2 * 2 * 64 * 10 * 9 * 6),
    ],
    ids=["ordinary", "strided", "grouped", "depthwise", "under jit"],
)
def test_convolutions(function, kernel, expected):
    assert _count(function, IMAGES.shape, kernel) == expected


def test_matrix_products():
    assert _count(jnp.matmul, (5, 7), (7, 3)) == 2 * 5 * 7 * 3
    assert _count(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (4, 5, 7), (4, 7, 3)) == (
        2 * 4 * 5 * 7 * 3
    )


def test_nothing_else_counts():
    assert _count(lambda x: jnp.tanh(x + x * x).mean(), (5, 7)) == 0


def test_loops_and_choices():
    def looped(x, w):
        return lax.scan(lambda carry, _: (carry @ w, None), x, None, length=11)[0]

    def chosen(x, w):
        return lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x @ w)

    once = 2 * 5 * 7 * 7
    assert _count(looped, (5, 7), (7, 7)) == 11 * once
    assert _count(chosen, (5, 7), (7, 7)) == 2 * once


def test_resnet18():
    """A multiplication and its addition are two; by hand, for 32x32 pixels and 100 classes."""
    stem = 9 * 3 * 64 * 32**2
    first = 4 * 9 * 64 * 64 * 32**2
    # Each deeper stage: half the width to the whole, three more, and the shortcut; all alike.
    deeper = (9 * 64 * 128 + 3 * 9 * 128 * 128 + 64 * 128) * 16**2
    expected = 2 * (stem + first + 3 * deeper + 512 * 100)

    network = Functional(
        lambda rngs: Classifier(create_backbone("resnet18", rngs=rngs), 100, rngs=rngs)
    )

    def logits(variables, images):
        return (network.merge(*variables)(images),)

    images = jax.ShapeDtypeStruct((3, 32, 32, 3), jnp.float32)
    parts = Parts(logits, (network.params, network.model_state), images)
    assert parts.flops_alone(0) == parts.flops_through(0) == expected == 1_110_937_600
    # All 11,220,132 parameters are read, as the README says.
    sizes = [leaf.size for leaf in jax.tree.leaves(network.params)]
    assert sum(sizes) == 11_220_132
    assert all(parts.variables_read(0)[: len(sizes)])
