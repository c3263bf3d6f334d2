import families
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from skdsam_jax.models import (
    Classifier,
    ShallowExits,
    create_backbone,
    global_average_pool,
    initialize,
)
from skdsam_jax.options import ConfigError


class Network(nnx.Module):
    def __init__(self, rngs, name="resnet18", dtype=jnp.float32, **options):
        settings = {"dtype": dtype, "rngs": rngs}
        backbone = create_backbone(name, width=4, **settings)
        self.classifier = Classifier(backbone, 5, **settings)
        self.exits = ShallowExits(backbone, 5, **options, **settings)

    def __call__(self, images):
        stages = self.classifier.backbone(images, train=True)
        features, logits = self.exits(stages, train=True)
        deepest = global_average_pool(stages[-1])
        return (*features, deepest), (*logits, self.classifier.dense(deepest))


def images(size=16):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, size, size, 3)), jnp.float32)


@pytest.mark.parametrize("options", [{}, {"links": False}, {"head": "bottleneck"}])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_exits(name, options):
    graphdef, state = nnx.split(
        nnx.eval_shape(lambda: Network(nnx.Rngs(0), name, jnp.bfloat16, **options))
    )

    def call(state, images):
        network = nnx.merge(graphdef, state, copy=True)
        return network(images), nnx.state(network)

    (features, logits), after = jax.eval_shape(call, state, images())
    width = {"resnet18": 32, "resnet50": 128}[name]
    assert [x.shape for x in features] == 4 * [(2, width)]
    assert [x.shape for x in logits] == 4 * [(2, 5)]
    # It computes in bfloat16, but what is pooled and what is kept is float32.
    for tree in (features, logits, after):
        assert {x.dtype for x in jax.tree.leaves(tree)} == {jnp.dtype(jnp.float32)}
    heads = nnx.merge(graphdef, state).exits.heads
    assert all((getattr(head, "link", None) is not None) == (options == {}) for head in heads)


def test_bottlenecks_reach_the_deepest_resolution():
    network = nnx.eval_shape(lambda: Network(nnx.Rngs(0), head="bottleneck"))
    assert [head.reduction for head in network.exits.heads] == [8, 4, 2]
    assert [head.units[1].conv.kernel.shape for head in network.exits.heads] == [
        (k, k, 8, 8) for k in (8, 4, 2)
    ]


@pytest.mark.parametrize(
    ("stem", "size", "smallest", "stage"),
    [("small", 7, 8, "16x7"), ("imagenet", 28, 29, "10x7")],
)
def test_images_too_small_for_a_bottleneck(stem, size, smallest, stage):
    """A stage has the image's side over its reduction, rounded up."""
    backbone = families.abstract_backbone("resnet18", width=4, stem=stem)
    exits = families.abstract(lambda rngs: ShallowExits(backbone, 5, head="bottleneck", rngs=rngs))
    assert exits.minimum_image_size == smallest

    def shapes(size):
        stages, _ = families.abstract_stages(backbone, (size + 9, size))
        (features, _), _ = families.abstract_call(exits, stages)
        return [feature.shape for feature in features]

    with pytest.raises(
        ConfigError, match=rf"config.data.image_size: .* {smallest} pixels"
    ) as error:
        shapes(size)
    assert "\n" not in str(error.value)
    assert stage in str(error.value)
    assert shapes(smallest) == 3 * [(2, 32)]


def test_sepconv_heads_take_any_size():
    backbone = families.abstract_backbone("resnet18", width=4)
    exits = families.abstract(lambda rngs: ShallowExits(backbone, 5, rngs=rngs))
    stages, _ = families.abstract_stages(backbone, (1, 1))
    (features, _), _ = families.abstract_call(exits, stages)
    assert exits.minimum_image_size == 1
    assert [feature.shape for feature in features] == 3 * [(2, 32)]


def test_bottlenecks_obey_the_cap():
    backbone = families.abstract_backbone("resnet18")
    options = {"head": "bottleneck", "width_cap": 100}
    exits = families.abstract(lambda rngs: ShallowExits(backbone, 5, **options, rngs=rngs))
    assert {head.units[1].conv.out_features for head in exits.heads} == {100}


def test_unknown_head():
    backbone = nnx.eval_shape(lambda: create_backbone("resnet18", rngs=nnx.Rngs(0)))
    with pytest.raises(
        ValueError, match="head: takes one of sepconv, bottleneck, branch, not 'cnn'"
    ):
        ShallowExits(backbone, 5, head="cnn", rngs=nnx.Rngs(0))


@pytest.mark.slow
def test_bfloat16_gradients_reach_every_parameter():
    """In float64 the golden network shows it."""

    def build(rngs):
        return Network(rngs, dtype=jnp.bfloat16)

    graphdef, *_ = nnx.split(nnx.eval_shape(lambda: build(nnx.Rngs(0))), nnx.Param, ...)
    params, statistics = jax.jit(lambda: nnx.split(initialize(build, 0), nnx.Param, ...)[1:])()

    @jax.jit
    def gradient(params, statistics):
        def loss(params):
            network = nnx.merge(graphdef, params, statistics, copy=True)
            _, logits = network(images())
            value = sum(-jax.nn.log_softmax(z)[:, 0].mean() for z in logits)
            return value, nnx.state(network, nnx.BatchStat)

        return jax.value_and_grad(loss, has_aux=True)(params)

    (value, updated), gradients = gradient(params, statistics)
    assert np.isfinite(value)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert leaf.dtype == jnp.float32, path
        assert np.isfinite(leaf).all(), path
        assert np.any(np.asarray(leaf) != 0), path
    for (path, new), old in zip(
        jax.tree_util.tree_leaves_with_path(updated), jax.tree.leaves(statistics), strict=True
    ):
        assert new.dtype == old.dtype == jnp.float32, path
        assert np.any(np.asarray(new) != np.asarray(old)), path


def test_classifier_alone_gives_the_deepest_logits():
    """What is left at inference computes what the whole network does, and changes nothing."""
    network = Network(nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.state(network))
    graphdef, state = nnx.split(network)

    @jax.jit
    def both(state, images):
        network = nnx.merge(graphdef, state, copy=True)
        classifier = network.classifier
        stages = classifier.backbone(images, train=False)
        expected = classifier.dense(global_average_pool(stages[-1]))
        return classifier(images), expected, nnx.state(network)

    actual, expected, after = both(state, images(8))
    np.testing.assert_array_equal(actual, expected)
    jax.tree.map(np.testing.assert_array_equal, before, after)
