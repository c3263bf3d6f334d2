import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest

from skdsam_jax.models import operations
from skdsam_jax.models.operations import (
    convolution,
    depthwise_convolution,
    double,
    max_pool,
    relu,
)

SIZES = [(1, 1), (5, 4), (8, 8), (7, 1)]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def value_and_gradients(function, cotangent, *arguments):
    @jax.jit
    def compute(cotangent, *arguments):
        value, pull_back = jax.vjp(function, *arguments)
        return value, *pull_back(cotangent.astype(value.dtype))

    return compute(jnp.asarray(cotangent), *arguments)


def default_form(*arguments, cpu, default):
    """Stands in for `jax.lax.platform_dependent`: what other platforms compute, on this one."""
    return default(*arguments)


def both_forms(function, cotangent, *arguments, monkeypatch):
    """Value and gradients in float64 of a CPU's form, and of the one all others get."""
    results = []
    with jax.enable_x64(True):
        arguments = [jnp.asarray(argument) for argument in arguments]
        results.append(value_and_gradients(function, cotangent, *arguments))
        monkeypatch.setattr(jax.lax, "platform_dependent", default_form)
        # A new function: JAX remembers how it traced the old one.
        results.append(value_and_gradients(lambda *given: function(*given), cotangent, *arguments))
    return results


def lowered(function, platform, *arguments):
    """StableHLO of value and gradients for a platform that this machine may not have."""

    def compute(*arguments):
        value, pull_back = jax.vjp(function, *arguments)
        return value, *pull_back(jnp.ones_like(value))

    return jax.jit(compute).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def resized(images):
    batch, height, width, features = images.shape
    return jax.image.resize(images, (batch, 2 * height, 2 * width, features), "bilinear")


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_forms_of_depthwise_convolution_agree(size, stride, monkeypatch):
    images, kernel = random(2, *size, 3), random(3, 3, 1, 3, seed=1)
    expected = numpy_layers.depthwise(images, kernel, stride)
    results = both_forms(
        lambda x, k: depthwise_convolution(x, k, stride),
        random(*expected.shape, seed=2),
        images,
        kernel,
        monkeypatch=monkeypatch,
    )
    np.testing.assert_allclose(results[0][0], expected, atol=1e-12)
    for shifted, grouped in zip(*results, strict=True):
        assert shifted.dtype == grouped.dtype == np.float64
        np.testing.assert_allclose(shifted, grouped, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_shifted_products_are_summed_in_float32(stride):
    images = jnp.asarray(random(4, 16, 16, 3) + 2, jnp.bfloat16)
    kernel = jnp.asarray(random(3, 3, 1, 3, seed=1), jnp.float32)
    expected = numpy_layers.depthwise(np.asarray(images, np.float64), kernel, stride)
    ones = np.ones(expected.shape)
    value, to_images, to_kernel = value_and_gradients(
        lambda x, k: depthwise_convolution(x, k, stride), ones, images, kernel
    )
    assert (value.dtype, to_images.dtype, to_kernel.dtype) == ("bfloat16", "bfloat16", "float32")
    # Only the result is rounded to bfloat16's 8 bits.
    np.testing.assert_allclose(value, expected, rtol=2**-8)
    padded = np.pad(np.asarray(images, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for row in range(3):
        for column in range(3):
            seen = padded[:, row : row + 16 : stride, column : column + 16 : stride]
            np.testing.assert_allclose(to_kernel[row, column, 0], seen.sum((0, 1, 2)), rtol=1e-6)


def convolve(images, kernel, groups, stride=1):
    padding = kernel.shape[0] // 2
    return convolution(
        images,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@pytest.mark.parametrize(
    ("groups", "depth", "out_features", "stride"),
    [(1, 3, 4, 1), (2, 3, 4, 2), (6, 2, 6, 1), (3, 32, 3, 1), (2, 65, 2, 1)],
)
def test_forms_of_grouped_convolution_agree(groups, depth, out_features, stride, monkeypatch):
    """Blocks of all groups, of one (32 features, of which 64 would fit two of three), too wide."""
    images, kernel = random(2, 4, 3, groups * depth), random(3, 3, depth, out_features, seed=1)
    expected = numpy_layers.convolution(images, kernel, stride, 1, groups)
    cotangent = random(*expected.shape, seed=2)
    results = both_forms(
        lambda x, k: convolve(x, k, groups, stride),
        cotangent,
        images,
        kernel,
        monkeypatch=monkeypatch,
    )
    np.testing.assert_allclose(results[0][0], expected, atol=1e-12)
    for blocked, grouped in zip(*results, strict=True):
        assert blocked.dtype == grouped.dtype == np.float64
        np.testing.assert_allclose(blocked, grouped, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_a_strided_pointwise_convolution_reads_only_what_it_needs(size, monkeypatch):
    images, kernel = random(2, *size, 3), random(1, 1, 3, 4, seed=1)
    expected = np.einsum("bhwi,io->bhwo", images[:, ::2, ::2], kernel[0, 0])
    cotangent = random(*expected.shape, seed=2)
    results = both_forms(
        lambda x, k: convolve(x, k, 1, 2), cotangent, images, kernel, monkeypatch=monkeypatch
    )
    np.testing.assert_allclose(results[0][0], expected, atol=1e-12)
    for sliced, strided in zip(*results, strict=True):
        np.testing.assert_allclose(sliced, strided, atol=1e-12)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_relu(dtype):
    x = jnp.asarray([-2.0, -0.0, 0.0, 3.0, jnp.inf, -jnp.inf], dtype)
    value, gradient = value_and_gradients(relu, np.full(6, 5.0), x)
    np.testing.assert_array_equal(value, jax.nn.relu(x))
    np.testing.assert_array_equal(gradient, [0, 0, 0, 5, 5, 0])
    assert value.dtype == gradient.dtype == dtype
    # The step looks for what is not finite at its end: nothing may hide it on the way.
    assert jnp.isnan(relu(jnp.asarray(jnp.nan, dtype)))


def test_transpositions_for_filter_gradients_repeat_no_arithmetic():
    """What `relu` is written for; fails if a new XLA fuses otherwise."""

    def loss(kernels, images, added):
        for kernel in kernels:
            images = relu(convolve(images, kernel, 1) * 1.5 + added)
        return (images**2).sum()

    images = jnp.ones((8, 8, 8, 16))
    kernels = [jnp.ones((3, 3, 16, 16))] * 3
    program = jax.jit(jax.grad(loss)).lower(kernels, images, images).compile().as_text()
    bodies = [body for body in program.split("\n\n") if " transpose(" in body]
    transposing = [body for body in bodies if "f32[16,8,8,8]" in body and "ENTRY" not in body]
    assert transposing
    assert not [body for body in transposing if " add(" in body or " multiply(" in body]


@pytest.mark.parametrize(
    ("groups", "depth", "blocks"), [(1, 128, 1), (32, 4, 2), (32, 8, 4), (8, 64, 8), (3, 32, 3)]
)
def test_blocks_of_groups_on_a_cpu(groups, depth, blocks):
    images, kernel = jnp.ones((1, 4, 4, groups * depth)), jnp.ones((3, 3, depth, groups * depth))
    program = jax.jit(lambda x, k: convolve(x, k, groups)).lower(images, kernel).as_text()
    assert program.count("stablehlo.convolution(") == blocks
    assert program.count("feature_group_count = 1 ") == blocks


def chosen(platform, operation):
    """Whether a program has the form of an operation that a platform should get."""
    images = jnp.ones((1, 4, 4, 8))
    pairs = {
        "depthwise": (lambda x, k: depthwise_convolution(x, k, 2), (3, 3, 1, 8)),
        "grouped": (lambda x, k: convolve(x, k, 4), (3, 3, 2, 8)),
        "pointwise": (lambda x, k: convolve(x, k, 1, 2), (1, 1, 8, 8)),
    }
    if operation == "max_pool":
        program = lowered(max_pool, platform, images)
        return "stablehlo.select_and_scatter" in program and "stablehlo.reduce_window" in program
    function, shape = pairs[operation]
    program = lowered(function, platform, images, jnp.ones(shape))
    lines = [line for line in program.splitlines() if "stablehlo.convolution(" in line]
    if operation == "pointwise":
        # Strided forward, dilated backward; on a CPU neither.
        return sum("stride = [2, 2]" in line or "dilate = [2, 2]" in line for line in lines) == 3
    # Forward and towards the images it has groups of features, towards the kernel of the batch.
    groups = {"depthwise": 8, "grouped": 4}[operation]
    shared = [f"{kind}_group_count = {groups} " for kind in ("feature", "batch")]
    return [sum(text in line for line in lines) for text in shared] == [2, 1]


@pytest.mark.parametrize("operation", ["depthwise", "grouped", "pointwise", "max_pool"])
def test_form_follows_the_platform_that_is_lowered_for(operation):
    assert not chosen("cpu", operation)
    assert chosen("cuda", operation)
    assert chosen("tpu", operation)


def test_no_choice_is_left_in_a_compiled_program():
    """XLA's gradients of convolutions within a conditional are many times slower on a CPU."""

    def loss(images, depthwise, grouped, pointwise):
        images = depthwise_convolution(images, depthwise, 1)
        images = convolve(images, grouped, 4)
        return (convolve(max_pool(images), pointwise, 1, 2) ** 2).sum()

    shapes = (1, 16, 16, 8), (3, 3, 1, 8), (3, 3, 2, 8), (1, 1, 8, 8)
    gradient = jax.jit(jax.grad(loss, (0, 1, 2, 3)))
    program = gradient.lower(*(jnp.ones(shape) for shape in shapes)).compile().as_text()
    assert " convolution(" in program
    assert " conditional(" not in program


def test_what_all_platforms_share_is_traced_once():
    images, kernel = jnp.ones((1, 4, 4, 8)), jnp.ones((3, 3, 8, 8))
    jaxpr = str(jax.make_jaxpr(lambda x, k: convolve(x, k, 1, 2))(images, kernel))
    assert jaxpr.count("conv_general_dilated[") == 1
    assert "platform_index" not in jaxpr


@pytest.mark.parametrize("before", [(1, 1), (0, 1), (0, 0)])
@pytest.mark.parametrize("size", SIZES)
def test_forms_of_max_pool_agree(size, before, monkeypatch):
    """No two of the maps' values are equal; all are negative, which padding with 0 would show."""
    images = random(2, *size, 3) - 10
    expected = numpy_layers.max_pool(images, before)
    cotangent = random(*expected.shape, seed=1)
    results = both_forms(
        lambda x: max_pool(x, before=before), cotangent, images, monkeypatch=monkeypatch
    )
    np.testing.assert_array_equal(results[0][0], expected)
    for shifted, window in zip(*results, strict=True):
        np.testing.assert_array_equal(shifted, window)


def test_equal_maxima_share_the_gradient_of_max_pool():
    images = jnp.zeros((1, 4, 4, 1), jnp.bfloat16)
    value, gradient = value_and_gradients(max_pool, np.ones((1, 2, 2, 1)), images)
    assert value.dtype == gradient.dtype == jnp.bfloat16
    assert float(gradient.astype(jnp.float32).sum()) == pytest.approx(4, rel=0.02)


def test_depthwise_gradients_of_a_sharded_batch():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
    images = jnp.asarray(random(16, 6, 6, 4), jnp.float32)
    kernel = jnp.asarray(random(3, 3, 1, 4, seed=1), jnp.float32)
    gradients = jax.jit(
        jax.grad(lambda x, k: jnp.sin(depthwise_convolution(x, k, 2)).sum(), (0, 1))
    )
    for sharded, whole in zip(
        gradients(jax.device_put(images, sharding), kernel), gradients(images, kernel), strict=True
    ):
        np.testing.assert_allclose(sharded, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_double_is_bilinear_resizing(size):
    images, cotangent = random(2, *size, 3), random(2, 2 * size[0], 2 * size[1], 3, seed=1)
    with jax.enable_x64(True):
        ours = value_and_gradients(double, cotangent, jnp.asarray(images))
        theirs = value_and_gradients(resized, cotangent, jnp.asarray(images))
    for actual, expected in zip(ours, theirs, strict=True):
        assert actual.dtype == np.float64
        np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_double_on_a_tpu_is_the_same_and_one_convolution_each_way(size, monkeypatch):
    images, cotangent = random(2, *size, 3), random(2, 2 * size[0], 2 * size[1], 3, seed=1)
    program = lowered(double, "tpu", jnp.asarray(images, jnp.float32))
    assert program.count("stablehlo.convolution") == 2
    assert "stablehlo.convolution" not in lowered(double, "cpu", jnp.asarray(images, jnp.float32))
    with jax.enable_x64(True):
        plain = value_and_gradients(double, cotangent, jnp.asarray(images))
        monkeypatch.setattr(jax.lax, "platform_dependent", lambda *a, tpu, default: tpu(*a))
        ours = value_and_gradients(lambda x: double(x), cotangent, jnp.asarray(images))
    for actual, expected in zip(ours, plain, strict=True):
        assert actual.dtype == np.float64
        np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_double_keeps_the_type(dtype):
    images = jnp.asarray(random(2, 4, 4, 3), dtype)
    value, gradient = value_and_gradients(double, np.ones((2, 8, 8, 3)), images)
    assert value.dtype == gradient.dtype == dtype
    tolerance = 4 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(
        np.asarray(value, np.float64),
        np.asarray(resized(images.astype(jnp.float32))),
        atol=3 * tolerance,
    )
    # Every pixel is shared out whole: interpolation weights add up to one pixel of four.
    np.testing.assert_allclose(np.asarray(gradient, np.float64), 4, rtol=tolerance)


def test_double_is_reverse_mode_only():
    """The documented limit; when it goes away, the documentation should too."""
    images = jnp.ones((1, 4, 4, 2))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(operations.double, (images,), (images,))
