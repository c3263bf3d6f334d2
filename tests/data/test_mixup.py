import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from skdsam_jax.data.augmentation.mixing import mixup, random_mixup


def _batch(batch=6, classes=4):
    generator = np.random.default_rng(0)
    images = generator.normal(size=(batch, 5, 5, 3)).astype(np.float32)
    return images, generator.integers(0, classes, batch).astype(np.int32)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 2**-7)])
def test_mixup_mixes_images_and_labels_alike(ratio, dtype, tolerance):
    images, labels = _batch()
    partners = np.array([3, 1, 0, 5, 4, 2], np.int32)
    mixed, targets = mixup(
        jnp.asarray(images, dtype), jnp.asarray(labels), jnp.float32(ratio), partners, 4
    )
    assert mixed.dtype == dtype
    assert targets.dtype == jnp.float32
    expected = np.zeros((6, 4))
    for i, partner in enumerate(partners):
        expected[i, labels[i]] += ratio
        expected[i, labels[partner]] += 1 - ratio
        np.testing.assert_allclose(
            np.asarray(mixed[i], np.float64),
            ratio * images[i] + (1 - ratio) * images[partner],
            rtol=tolerance,
            atol=2 * tolerance,
        )
    np.testing.assert_allclose(targets, expected, atol=1e-6)


def _drawn(key, batch, alpha=0.2):
    """Ratio and partners of a random mixture of unit vectors, one class per example."""
    identity = jnp.eye(batch).reshape(batch, 1, batch, 1)
    mixed, targets = random_mixup(key, identity, jnp.arange(batch), alpha, batch)
    np.testing.assert_array_equal(mixed[:, 0, :, 0], targets)
    return targets


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_ratio_of_a_batch_is_beta_distributed(key, alpha):
    draw = jax.jit(jax.vmap(lambda key: random_mixup(
        key, jnp.array([0.0, 1.0]).reshape(2, 1, 1, 1), jnp.arange(2), alpha, 2
    )[0]))  # fmt: skip
    mixed = np.asarray(draw(jax.random.split(key, 4000)))[:, :, 0, 0, 0]
    # Where the two are swapped, the first is 1 - lambda; otherwise it is its own partner.
    swapped = ~((mixed[:, 0] == 0) & (mixed[:, 1] == 1))
    # A ratio that rounds to 1 looks like no swap.
    assert 0.4 < swapped.mean() < 0.55
    ratios = mixed[swapped, 1]
    cells = np.histogram(ratios, [0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])[0]
    edges = scipy.stats.beta(alpha, alpha).cdf([0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    # Half of 4000 batches are swapped: each cell is binomial.
    probabilities = np.diff(edges) / 2
    deviations = np.sqrt(4000 * probabilities * (1 - probabilities))
    assert np.all(np.abs(cells - 4000 * probabilities) < 5 * deviations)


def test_partners_are_a_permutation_and_all_examples_share_the_ratio():
    targets = np.asarray(_drawn(jax.random.key(1), 8, alpha=5.0))
    np.testing.assert_allclose(targets.sum(0), 1, rtol=1e-6)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    diagonal = np.diag(targets)
    alone = diagonal == 1
    assert len(np.unique(diagonal[~alone])) == 1


def test_every_partner_is_equally_likely(key):
    draw = jax.jit(jax.vmap(lambda key: _partners(key)))
    partners = np.asarray(draw(jax.random.split(key, 3000)))
    counts = np.stack([(partners == other).sum(0) for other in range(5)])
    # Each of 25 pairs: binomial with mean 600 and deviation 21.9.
    assert np.all(np.abs(counts - 600) < 5 * 21.9)


def _partners(key):
    mixed = random_mixup(key, jnp.eye(5).reshape(5, 1, 5, 1), jnp.arange(5), 50.0, 5)[0]
    targets = mixed[:, 0, :, 0]
    others = targets * (1 - jnp.eye(5))
    return jnp.where(others.sum(1) > 0, others.argmax(1), jnp.arange(5))
