"""CutMix: the box, its area and the labels, against a plain computation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from skdsam_jax.data.augmentation.mixing import cutmix, random_cutmix, random_mixup

BATCH, HEIGHT, WIDTH, CLASSES = 6, 6, 4, 5

_cutmix = jax.jit(cutmix, static_argnames="num_classes")


def _batch(dtype=jnp.float32):
    generator = np.random.default_rng(0)
    images = generator.normal(size=(BATCH, HEIGHT, WIDTH, 3)).astype(np.float32)
    labels = generator.integers(0, CLASSES, BATCH).astype(np.int32)
    return jnp.asarray(images, dtype), labels


def _oracle(images, labels, center, sides, partners):
    """As the paper's public description has it: slices, clipped at the border."""
    (top, left), (bottom, right) = (
        [int(np.clip(middle + sign * (side // 2), 0, size)) for middle, side, size in zip(
            center, sides, (HEIGHT, WIDTH), strict=True)]
        for sign in (-1, 1)
    )  # fmt: skip
    mixed = np.array(images)
    mixed[:, top:bottom, left:right] = np.asarray(images)[partners, top:bottom, left:right]
    share = 1 - (bottom - top) * (right - left) / (HEIGHT * WIDTH)
    identity = np.eye(CLASSES)
    return mixed, share * identity[labels] + (1 - share) * identity[labels[partners]]


@settings(deadline=None, max_examples=50)
@given(
    center=st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1)),
    sides=st.tuples(st.integers(0, HEIGHT), st.integers(0, WIDTH)),
    partners=st.permutations(range(BATCH)),
)
def test_the_box_is_pasted_and_labels_share_its_area(center, sides, partners):
    images, labels = _batch()
    partners = np.array(partners, np.int32)
    mixed, targets = _cutmix(
        images,
        labels,
        tuple(map(np.int32, center)),
        tuple(map(np.int32, sides)),
        partners,
        num_classes=CLASSES,
    )
    expected, expected_targets = _oracle(images, labels, center, sides, partners)
    np.testing.assert_array_equal(mixed, expected)
    np.testing.assert_allclose(targets, expected_targets, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_types_are_kept_without_promotion(dtype):
    partners = np.arange(BATCH, dtype=np.int32)[::-1]
    with (
        jax.enable_x64(dtype == jnp.float64),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        images, labels = _batch(dtype)
        middle, sides = (np.int32(3), np.int32(2)), (np.int32(4), np.int32(2))
        mixed, targets = cutmix(images, labels, middle, sides, partners, CLASSES)
        drawn = jax.eval_shape(
            lambda key: random_cutmix(key, images, labels, 1.0, CLASSES), jax.random.key(0)
        )
    assert mixed.dtype == drawn[0].dtype == dtype
    assert targets.dtype == drawn[1].dtype == jnp.float32


def _chances(alpha):
    """How likely each pixel lies in the box, [HEIGHT, WIDTH], summed over sides and centres."""
    ratio = scipy.stats.beta(alpha, alpha)
    # Sides change where one of them passes a whole number of pixels.
    edges = np.unique(np.concatenate([np.arange(size + 1) / size for size in (HEIGHT, WIDTH)]))
    chances = np.zeros((HEIGHT, WIDTH))
    for low, high in itertools.pairwise(edges):
        inside = []
        for size in (HEIGHT, WIDTH):
            half, places = int(size * (low + high) / 2) // 2, np.arange(size)
            boxes = (places >= places[:, None] - half) & (places < places[:, None] + half)
            inside.append(boxes.mean(0))
        # 1 - lambda has lambda's distribution, and the sides are as its root.
        chances += (ratio.cdf(high**2) - ratio.cdf(low**2)) * np.outer(*inside)
    return chances


def test_boxes_have_the_distribution_of_the_paper():
    alpha = 0.5
    black_and_white = jnp.stack([jnp.zeros((HEIGHT, WIDTH, 1)), jnp.ones((HEIGHT, WIDTH, 1))])
    labels = jnp.arange(2, dtype=jnp.int32)
    draw = jax.jit(jax.vmap(lambda key: random_cutmix(key, black_and_white, labels, alpha, 2)))
    draws = 4000
    mixed, targets = map(np.asarray, draw(jax.random.split(jax.random.key(0), draws)))
    # White in the black image is the box, where the two are each other's partners: half the time.
    box = mixed[:, 0, :, :, 0]
    np.testing.assert_allclose(targets[:, 0, 1], box.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)
    expected = _chances(alpha) / 2
    deviations = np.sqrt(expected * (1 - expected) / draws)
    assert np.all(np.abs(box.mean(0) - expected) <= 5 * deviations)


@pytest.mark.parametrize(("mix", "reads"), [(random_mixup, 3), (random_cutmix, 2)])
def test_reads_of_an_anchor_meet_those_of_one_partner_in_order(mix, reads):
    """One class per image: labels then say whose pixels are where."""
    images = jnp.arange(12.0).reshape(12, 1, 1, 1) * jnp.ones((1, 4, 4, 1))
    labels = jnp.arange(12, dtype=jnp.int32)
    draw = jax.jit(jax.vmap(lambda key: mix(key, images, labels, 5.0, 12, reads=reads)))
    mixed, targets = map(np.asarray, draw(jax.random.split(jax.random.key(1), 8)))
    np.testing.assert_allclose(mixed.mean((2, 3, 4)), targets @ np.arange(12), rtol=1e-5)
    np.testing.assert_allclose(targets.sum(2), 1, atol=1e-6)
    shares = 1 - targets[:, np.arange(12), np.arange(12)]
    partners = (targets * (1 - np.eye(12))).argmax(2)
    moved = shares > 0
    assert moved.any()
    # All that were mixed were so in one ratio, with the same read of another anchor.
    for share, partner, mixed_ones in zip(shares, partners, moved, strict=True):
        assert len(np.unique(share[mixed_ones].round(5))) <= 1
        assert np.all((partner % reads == np.arange(12) % reads)[mixed_ones])
        anchors = (partner // reads).reshape(-1, reads)[mixed_ones.reshape(-1, reads)[:, 0]]
        assert np.all(anchors == anchors[:, :1])
