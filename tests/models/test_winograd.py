import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from skdsam_jax.models import create_backbone, use_convolution
from skdsam_jax.models.layers import Conv
from skdsam_jax.models.operations import fast_convolution, winograd_convolution
from skdsam_jax.options import ConfigError

SIZES = [(1, 1), (3, 2), (4, 4), (5, 8), (7, 13)]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def direct(images, kernel):
    return jax.lax.conv_general_dilated(
        images, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def fast(images, kernel, stride=1, padding=1, groups=1, **settings):
    return fast_convolution(
        images,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        **settings,
    )


def value_and_gradients(function, images, kernel, cotangent):
    @jax.jit
    def compute(images, kernel, cotangent):
        value, pull_back = jax.vjp(function, images, kernel)
        return value, *pull_back(cotangent.astype(value.dtype))

    return compute(images, kernel, cotangent)


def arrays(size, features=3, out_features=2, batch=2):
    return (
        random(batch, *size, features),
        random(3, 3, features, out_features, seed=1),
        random(batch, *size, out_features, seed=2),
    )


@pytest.mark.parametrize("size", SIZES)
def test_equals_a_convolution_in_float64(size):
    """Constants of another type than the arguments' would cost nine digits."""
    given = arrays(size)
    with jax.enable_x64(True):
        given = [jnp.asarray(array) for array in given]
        actual = value_and_gradients(winograd_convolution, *given)
        expected = value_and_gradients(direct, *given)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def errors(dtype, given):
    """The largest error of value and gradients, of the largest value."""
    with jax.enable_x64(True):
        exact = value_and_gradients(direct, *(jnp.asarray(array) for array in given))
        exact = [np.asarray(array) for array in exact]
    ours = value_and_gradients(winograd_convolution, *(jnp.asarray(a, dtype) for a in given))
    assert {array.dtype for array in ours} == {jnp.dtype(dtype)}
    return [
        np.abs(np.asarray(a, np.float64) - e).max() / np.abs(e).max()
        for a, e in zip(ours, exact, strict=True)
    ]


def test_errors_in_float32():
    """Points 2 and -2, of which the algorithm is usually made, err by 4e-6 here."""
    assert max(errors("float32", arrays((13, 9), 32, 32, batch=4))) < 2.5e-6


def test_bfloat16_is_computed_in_float32():
    """Only arguments and results are rounded to bfloat16's 8 bits: within, errors would be 0.1."""
    given = [np.asarray(jnp.asarray(a, jnp.bfloat16), np.float64) for a in arrays((9, 8), 16, 16)]
    assert max(errors("bfloat16", given)) < 2**-8


def test_gradients_of_gradients():
    """A convolution is linear in each argument, and so are its gradients."""
    given = arrays((5, 4))

    def twice(function):
        def norm(images, kernel):
            to_kernel = jax.grad(lambda k: jnp.sin(function(images, k)).sum())(kernel)
            return (to_kernel**2).sum()

        return jax.jit(jax.grad(norm, (0, 1)))

    with jax.enable_x64(True):
        images, kernel = (jnp.asarray(array) for array in given[:2])
        for ours, theirs in zip(
            twice(winograd_convolution)(images, kernel), twice(direct)(images, kernel), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def convolutions(platform, size=(8, 8), features=64, out_features=64, kernel_size=3, **settings):
    """How many convolutions a program for a platform is made of, forward and backward."""
    images = jax.ShapeDtypeStruct((1, *size, features), jnp.float32)
    depth = features // settings.get("groups", 1)
    kernel = jax.ShapeDtypeStruct((kernel_size, kernel_size, depth, out_features), jnp.float32)

    def compute(images, kernel):
        value, pull_back = jax.vjp(lambda x, k: fast(x, k, **settings), images, kernel)
        return value, *pull_back(jnp.ones_like(value))

    lowered = jax.jit(compute).trace(images, kernel).lower(lowering_platforms=(platform,))
    return lowered.as_text().count("stablehlo.convolution(")


def test_form_follows_the_platform_that_is_lowered_for():
    assert convolutions("cpu") == 0
    assert convolutions("cuda") == convolutions("tpu") == 3


@pytest.mark.parametrize(
    "case",
    [
        {"features": 63},
        {"out_features": 63},
        {"stride": 2},
        {"padding": 0},
        {"padding": 2, "kernel_size": 5},
        {"kernel_size": 1, "padding": 1},
        {"groups": 2},
        {"rhs_dilation": (2, 2)},
        {"size": (2, 2)},
        {"size": (5, 5)},
    ],
    ids=str,
)
def test_other_convolutions_stay_direct(case):
    assert convolutions("cpu", **case) > 0


def test_both_platforms_forms_agree(monkeypatch):
    given = arrays((8, 7), 64, 65)
    with jax.enable_x64(True):
        given = [jnp.asarray(array) for array in given]
        ours = value_and_gradients(fast, *given)
        monkeypatch.setattr(jax.lax, "platform_dependent", lambda *a, cpu, default: default(*a))
        theirs = value_and_gradients(lambda *arguments: fast(*arguments), *given)
    for winograd, others in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(winograd, others, atol=1e-11)


def test_a_sharded_batch():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
    images, kernel, _ = (jnp.asarray(a, jnp.float32) for a in arrays((6, 5), 4, 4, batch=16))
    gradients = jax.jit(jax.grad(lambda x, k: jnp.sin(winograd_convolution(x, k)).sum(), (0, 1)))
    for sharded, whole in zip(
        gradients(jax.device_put(images, sharding), kernel), gradients(images, kernel), strict=True
    ):
        np.testing.assert_allclose(sharded, whole, rtol=1e-4, atol=1e-4)


def test_a_network_takes_the_form_and_gives_it_back():
    backbone = nnx.eval_shape(lambda: create_backbone("resnet18", width=4, rngs=nnx.Rngs(0)))
    layers = [layer for _, layer in nnx.iter_modules(backbone) if isinstance(layer, Conv)]
    assert len(layers) == 20
    before = {layer.conv_general_dilated for layer in layers}
    use_convolution(backbone, "winograd")
    assert {layer.conv_general_dilated for layer in layers} == {fast_convolution}
    use_convolution(backbone, "direct")
    assert {layer.conv_general_dilated for layer in layers} == before != {fast_convolution}


def test_an_unknown_form_is_refused():
    with pytest.raises(ConfigError, match="form: unknown form of convolution 'winogard'"):
        use_convolution(nnx.List(), "winogard")
