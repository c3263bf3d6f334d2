"""SAN's self-attention and networks: against their authors' code, and against plain sums."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import abstract, abstract_backbone, abstract_call, abstract_stages, count
from steps import check_method_attaches, check_step

from skdsam_jax.models import Classifier, initialize
from skdsam_jax.models.san import SAN
from skdsam_jax.models.self_attention import (
    KINDS,
    PairwiseWeights,
    SelfAttentionBlock,
    aggregate,
    mirrored,
    shifted,
)
from skdsam_jax.models.variables import Functional
from skdsam_jax.options import ConfigError

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
sys.path.append(str(GOLDEN))

import check  # noqa: E402

ENTRIES = {
    name: entry
    for name, entry in check.entries(GOLDEN / "attention_networks.npz").items()
    if name.startswith("sa")
}


def tiny(rngs, depths=(1, 1, 1), **options):
    return SAN(depths, width=32, rngs=rngs, **options)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name.endswith("3") else pytest.mark.slow) for name in ENTRIES],
)
def test_matches_the_golden_network(name):
    comparisons = check.compare(name, ENTRIES[name])
    assert all(comparison.computed.dtype == np.float64 for comparison in comparisons)
    failed = {
        comparison.name: comparison.error for comparison in comparisons if not comparison.passes
    }
    assert not failed


def test_every_entry_is_here():
    blocks = {f"sa_{kind}{size}" for kind in KINDS for size in (3, 7)}
    assert set(ENTRIES) == blocks | {f"san_{kind}" for kind in KINDS}


@pytest.mark.parametrize(
    ("name", "small", "published"),
    [
        ("san10", 8_687_748, 10_531_848),
        ("san15", 12_221_336, 14_065_436),
        ("san19", 15_752_056, 17_596_156),
    ],
)
def test_pairwise_networks_have_the_published_size(name, small, published):
    for parameters, classes, stem in ((small, 100, "small"), (published, 1000, "imagenet")):
        backbone = abstract_backbone(name, san_kind="pairwise", stem=stem)
        classifier = abstract(lambda rngs, n=classes, b=backbone: Classifier(b, n, rngs=rngs))
        assert count(classifier) == parameters


@pytest.mark.parametrize("size", [3, 5])
def test_sums_over_a_footprint(size):
    rng = np.random.default_rng(size)
    values = rng.normal(size=(2, 4, 5, 6))
    weights = rng.normal(size=(size**2, 2, 4, 5, 3))
    border = size // 2
    padded = np.pad(values, ((0, 0), (border, border), (border, border), (0, 0)), "reflect")
    windows = np.stack([padded[:, i : i + 4, j : j + 5] for i in range(size) for j in range(size)])
    # Features 0 and 3 share a weight, then 1 and 4, 2 and 5.
    expected = (np.concatenate([weights, weights], -1) * windows).sum(0)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(shifted(jnp.asarray(values), size), windows)
        actual = aggregate(jnp.asarray(weights), jnp.asarray(values))
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 8), (8, 3)])
def test_a_footprint_needs_room(shape):
    with pytest.raises(ValueError, match=r"images: takes more than 3 pixels a side, not \dx\d"):
        mirrored(jnp.zeros((1, *shape, 1)), 7)


def test_pairwise_weights_of_a_pixel_add_up_to_one():
    @jax.jit
    def compute(query, key):
        layer = initialize(lambda rngs: PairwiseWeights(4, 2, 3, rngs=rngs), 0)
        return layer(query, key, train=True)

    weights = compute(*np.random.default_rng(0).normal(size=(2, 2, 4, 5, 4)).astype(np.float32))
    assert weights.shape == (9, 2, 4, 5, 2)
    assert weights.min() > 0
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_computing_a_block_again_changes_nothing_but_memory(kind):
    """Values, gradients and running averages; and what is kept is less than one map per offset."""
    images = np.random.default_rng(0).normal(size=(2, 5, 6, 32))
    with jax.enable_x64(True):
        settings = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        network = Functional(lambda rngs: SelfAttentionBlock(32, 3, kind, rngs=rngs, **settings))
        params, state = jax.jit(network.init)(0)

        def run(params, again):
            block = network.merge(params, state)
            call = block if again else block.compute
            outputs = call(jnp.asarray(images), train=True)
            return (outputs**2).sum(), (outputs, network.split(block)[1])

        differentiated = jax.jit(jax.value_and_grad(run, has_aux=True), static_argnums=1)
        again, kept = (differentiated(params, again) for again in (True, False))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10), again, kept
        )
        assert np.any(again[0][1][1]["norm"]["mean"])
        residuals = [
            sum(
                leaf.size
                for leaf in jax.tree.leaves(
                    jax.eval_shape(
                        lambda params, again=again: jax.vjp(
                            lambda params: run(params, again)[0], params
                        )[1],
                        params,
                    )
                )
            )
            for again in (True, False)
        ]
    # The input, the parameters, the output and not much more.
    assert residuals[0] < 4 * images.size + 2 * sum(leaf.size for leaf in jax.tree.leaves(params))
    assert residuals[0] < residuals[1] / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_types(kind, dtype):
    wide = dtype == jnp.float64
    settings = {"dtype": dtype, "param_dtype": dtype if wide else jnp.float32}
    # Flax's normalisation promotes float64 with float32.
    promotion = "standard" if wide else "strict"
    with (
        jax.enable_x64(wide),
        jax.numpy_dtype_promotion(promotion),
        jax.numpy_rank_promotion("raise"),
    ):
        backbone = abstract(lambda rngs: tiny(rngs, san_kind=kind, **settings))
        images = jax.ShapeDtypeStruct((2, 7, 8, 3), dtype)
        stages, state = abstract_call(backbone, images)
        branch = abstract(lambda rngs: backbone.branch(0, rngs=rngs, **settings))
        copied, _ = abstract_call(branch, stages[0])
    assert {leaf.dtype for leaf in (*stages, copied)} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(settings["param_dtype"])}
    assert copied.shape == stages[-1].shape


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("stem", "size"), [("small", (7, 13)), ("imagenet", (29, 40))])
def test_sizes_are_rounded_up(stem, size, train):
    backbone = abstract(lambda rngs: tiny(rngs, stem=stem))
    stages, _ = abstract_stages(backbone, size, train=train)
    assert [stage.shape for stage in stages] == [
        (2, *(-(-side // reduction) for side in size), features)
        for reduction, features in zip(backbone.reductions, backbone.channels, strict=True)
    ]


@pytest.mark.parametrize(
    ("stem", "size", "smallest"), [("small", (32, 24), 25), ("imagenet", (96, 128), 97)]
)
def test_images_that_are_too_small(stem, size, smallest):
    backbone = abstract_backbone("san10", stem=stem)
    with pytest.raises(ConfigError, match=f"config.data.image_size: .* takes {smallest} pixels"):
        abstract_stages(backbone, size)
    abstract_stages(backbone, (smallest, smallest), train=False)


def test_a_branch_has_what_the_trunk_has_ahead():
    backbone = abstract_backbone("san10")
    ahead = sum(map(count, backbone.levels[2:]))
    assert count(abstract(lambda rngs: backbone.branch(0, rngs=rngs))) == ahead
    shorter = count(abstract(lambda rngs: backbone.branch(0, (1, 1, 1), rngs=rngs)))
    removed = [block for level in backbone.levels[2:] for block in level.blocks[1:]]
    assert shorter == ahead - sum(map(count, removed))


@pytest.mark.parametrize("method", ["msd", "skdsam", "byot", "okddip"])
def test_methods_attach(method):
    """Heads of every kind read its stages."""
    check_method_attaches(method, tiny)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_step(kind):
    check_step(lambda rngs: tiny(rngs, (1, 1), san_kind=kind))
