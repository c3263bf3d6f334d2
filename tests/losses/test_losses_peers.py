"""What the peers' losses promise beyond golden values: limits, gates, traced weights, soft labels.

Their recorded values are in golden/, see golden/test_peer_losses.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax import losses

BATCH, CLASSES, WIDTH = 4, 5, 6
LABELS = np.array([4, 0, 2, 2])
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[LABELS]
Z, Z2, Z3 = np.random.default_rng(0).standard_normal((3, BATCH, CLASSES), np.float32) * 2
F, F2 = np.random.default_rng(1).standard_normal((2, BATCH, WIDTH), np.float32)
MAPS = [np.random.default_rng(2).random((BATCH, s, s, 2), np.float32) for s in (4, 2)]
SCORES = np.random.default_rng(3).standard_normal((2, BATCH, 2), np.float32)
PARTNER = np.array([1, 0, 3, 2])

# Losses that take probabilities as labels, as functions of the labels.
SOFT = {
    "label_smoothing": lambda y: losses.label_smoothing_loss(Z, y),
    "cs_kd": lambda y: losses.cs_kd_loss(Z, Z2, y),
    "ddgsd": lambda y: losses.ddgsd_loss(Z, Z2, F, F2, y),
    "sla_sd": lambda y: losses.sla_sd_loss(np.tile(Z, (4, 4)), Z, y),
    "frskd": lambda y: losses.frskd_loss(Z, MAPS, Z2, MAPS, y),
    "sad": lambda y: losses.sad_loss(Z, MAPS, y),
    "dks": lambda y: losses.dks_loss([Z, Z2], y),
    "msd": lambda y: losses.msd_loss([Z, Z2], [F, F2], y),
    "dlb": lambda y: losses.dlb_loss(Z, y, Z2, y, Z3),
    "lightskd": lambda y: losses.lightskd_loss(Z, Z2, y, Z3),
    "bake": lambda y: losses.bake_loss(Z, F, y),
    "okddip": lambda y: losses.okddip_loss([Z, Z2], Z3, [F, F2], [F2, F], y),
    "feed": lambda y: losses.feed_loss(Z, [F], [F2], y, feature_weight=1.0),
    "mixskd": lambda y: losses.mixskd_loss(
        [Z, Z2], [Z2, Z], MAPS[:1] * 2, MAPS[:1] * 2, Z3, Z, SCORES, SCORES, y, PARTNER, 0.3
    ),
}
# Losses that ask which class is the label's.
HARD = {
    "tf_kd_reg": lambda y: losses.tf_kd_reg_loss(Z, y),
    "ps_kd": lambda y: losses.ps_kd_loss(Z, y, losses.soften(Z2, 1.0), alpha=0.4),
    "zipf": lambda y: losses.zipf_loss(Z, y, Z2),
    "uskd": lambda y: losses.uskd_loss(Z, Z2, y),
    "nkd": lambda y: losses.nkd_loss(Z, Z2, y),
}


@pytest.mark.parametrize("name", SOFT)
def test_one_hot_labels_are_integers(name):
    expected, _ = SOFT[name](LABELS)
    np.testing.assert_allclose(SOFT[name](ONE_HOT)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("name", HARD)
def test_probabilities_are_refused(name):
    assert np.isfinite(HARD[name](LABELS)[0])
    with pytest.raises(ValueError, match=r"^labels: takes integers"):
        HARD[name](ONE_HOT)


@pytest.mark.parametrize("name", SOFT | HARD)
def test_label_that_names_no_class_gives_nan(name):
    assert np.isnan((SOFT | HARD)[name](np.array([4, 0, CLASSES, 2]))[0])


# Limits.


def test_virtual_teacher_is_label_smoothing():
    """Equal to a relative 5e-5 at 100 classes, as the documentation says."""
    z = np.random.default_rng(4).standard_normal((BATCH, 100))
    with jax.enable_x64(True):
        tf_kd = jax.grad(lambda z: losses.tf_kd_reg_loss(z, LABELS)[0])(z)
        smooth = jax.grad(lambda z: losses.label_smoothing_loss(z, LABELS, spread="all")[0])(z)
    difference = np.abs(tf_kd - smooth).max() / np.abs(smooth).max()
    assert 0 < difference < 6e-5


def test_spreads_agree_at_rescaled_smoothing():
    others = losses.smooth_labels(LABELS, CLASSES, 0.2)
    everything = losses.smooth_labels(LABELS, CLASSES, 0.2 * CLASSES / (CLASSES - 1), "all")
    np.testing.assert_allclose(others, everything, rtol=1e-6)
    np.testing.assert_allclose(others.sum(1), 1, rtol=1e-6)


def test_soft_labels_are_mixed_with_the_rest():
    soft = 0.3 * ONE_HOT + 0.7 * np.roll(ONE_HOT, 1, axis=0)
    mixed = losses.smooth_labels(soft, CLASSES, 0.2)
    hard = losses.smooth_labels(LABELS, CLASSES, 0.2)
    np.testing.assert_allclose(mixed, 0.3 * hard + 0.7 * np.roll(hard, 1, axis=0), rtol=1e-6)


def test_no_past_is_cross_entropy():
    expected = losses.cross_entropy(Z, LABELS).mean()
    past = losses.soften(Z2, 1.0)
    np.testing.assert_array_equal(losses.ps_kd_loss(Z, LABELS, past, alpha=0.0)[0], expected)
    initial = losses.initial_memory(LABELS, CLASSES)
    first, _ = losses.ps_kd_loss(Z, LABELS, initial, alpha=0.3)
    np.testing.assert_allclose(first, expected, rtol=1e-6)


def test_schedules_end_where_they_should():
    assert losses.ps_kd_alpha(299, 300) == np.float32(0.8)
    ends = losses.cosine_weight(np.array([0, 7]), 7, 3.0, 1.0)
    np.testing.assert_allclose(ends, [3, 1], rtol=1e-6)
    warm = losses.linear_warm_up(np.array([0, 4, 5, 9]), 10, 0.5)
    np.testing.assert_allclose(warm, [0.2, 1, 1, 1], rtol=1e-6)
    assert losses.linear_warm_up(9, 10, 1.0) == 1 > losses.linear_warm_up(8, 10, 1.0)
    with jax.numpy_dtype_promotion("strict"):
        assert jax.jit(losses.ps_kd_alpha)(jnp.int32(4), 10) == np.float32(0.4)


def test_two_exits_of_dks_teach_each_other():
    _, terms = losses.dks_loss([Z, Z2], LABELS)
    expected = [losses.distillation_kl(Z, Z2, 1.0), losses.distillation_kl(Z2, Z, 1.0)]
    np.testing.assert_array_equal(terms["kl"], expected)


def test_bake_propagates_distributions():
    targets = losses.bake_targets(F, Z)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(losses.bake_affinity(F).sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(np.diag(losses.bake_affinity(F)), 0)
    alone = losses.bake_targets(F, Z, omega=0.0)
    np.testing.assert_allclose(alone, losses.soften(Z, 4.0), rtol=1e-6)


@pytest.mark.parametrize("name", ["bake", "ddgsd", "uskd"])
def test_order_of_a_coupled_batch_does_not_matter(name):
    order = np.array([2, 0, 3, 1])
    functions = {
        "bake": lambda o: losses.bake_loss(Z[o], F[o], LABELS[o]),
        "ddgsd": lambda o: losses.ddgsd_loss(Z[o], Z2[o], F[o], F2[o], LABELS[o]),
        "uskd": lambda o: losses.uskd_loss(Z[o], Z2[o], LABELS[o]),
    }
    expected, _ = functions[name](np.arange(BATCH))
    np.testing.assert_allclose(functions[name](order)[0], expected, rtol=1e-6)


def test_zipf_ranks_the_label_too():
    scores = np.float32([[5, 9, 5, 1, 0]])
    targets = losses.zipf_targets(scores, np.array([1]), power=2.0)
    shares = np.array([1 / 4, 0, 1 / 4, 1 / 16, 1 / 25])
    np.testing.assert_allclose(targets[0], shares / shares.sum(), rtol=1e-6)


def test_certain_predictions_stay_finite():
    certain = 1e3 * ONE_HOT
    for rank in losses.RANKS:
        value, gradient = jax.value_and_grad(
            lambda z, rank=rank: losses.uskd_loss(z, z, LABELS, rank=rank)[0]
        )(certain)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    gradient = jax.grad(lambda z: losses.zipf_loss(z, LABELS, z)[0])(certain)
    assert np.isfinite(gradient).all()


# Memories that may be empty, inside one compiled step.


@pytest.mark.parametrize("empty", [0, np.zeros(BATCH, bool), np.zeros(BATCH, np.float32)])
def test_replay_that_does_not_count_is_no_replay(empty):
    def loss(z, replay, weight):
        return losses.dlb_loss(z, LABELS, replay, LABELS, replay, replay_weight=weight)[0]

    nothing = np.full_like(Z2, np.inf)  # an empty memory may hold anything
    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(Z, nothing, empty)
    expected, gradient = jax.jit(jax.value_and_grad(lambda z: losses.dlb_loss(z, LABELS)[0]))(Z)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(gradients[0], gradient)
    np.testing.assert_array_equal(gradients[1], 0)


def test_replay_weights_count_single_images():
    some = np.array([True, False, True, True])
    value, terms = losses.dlb_loss(Z, LABELS, Z2, LABELS, Z3, replay_weight=some)
    expected, _ = losses.dlb_loss(Z, LABELS, Z2[some], LABELS[some], Z3[some])
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert terms["kl"][1] == terms["cross_entropy"][1] == 0
    everything, _ = losses.dlb_loss(Z, LABELS, Z2, LABELS, Z3, replay_weight=True)
    np.testing.assert_array_equal(everything, losses.dlb_loss(Z, LABELS, Z2, LABELS, Z3)[0])


def test_shape_without_weight_is_no_shape():
    weighted = jax.jit(
        lambda w: losses.lightskd_loss(Z, Z2, LABELS, np.zeros_like(Z), shape_weight=w)[0]
    )
    expected, terms = losses.lightskd_loss(Z, Z2, LABELS)
    np.testing.assert_allclose(weighted(0.0), expected, rtol=1e-6)
    assert "shape" not in terms
    _, alone = losses.lightskd_loss(Z, None, LABELS, Z3, guidance_weight=0.0)
    assert set(alone) == {"cross_entropy", "shape"}


# Arguments.

WRONG = {
    "partner_logits: shape": lambda: losses.cs_kd_loss(Z, Z2[:, 1:], LABELS),
    "other_features: shape": lambda: losses.ddgsd_loss(Z, Z2, F, F2[1:], LABELS),
    "feature_statistic: takes one of": lambda: losses.ddgsd_loss(
        Z, Z2, F, F2, LABELS, feature_statistic="median"
    ),
    "joint_logits: shape": lambda: losses.sla_sd_loss(Z, Z, LABELS),
    r"joint_logits: takes \[4 batch": lambda: losses.aggregate_rotations(Z),
    "teacher_features: 1 stages, but features has 2": lambda: losses.frskd_loss(
        Z, MAPS, Z2, MAPS[:1], LABELS
    ),
    r"teacher_features\[0\]: batch, height": lambda: losses.frskd_loss(
        Z, MAPS, Z2, MAPS[::-1], LABELS
    ),
    r"features\[1\]: height and width": lambda: losses.sad_loss(Z, MAPS[::-1], LABELS),
    "features: takes one map": lambda: losses.sad_loss(Z, MAPS[:1], LABELS),
    r"features\[0\]: takes a map": lambda: losses.sad_loss(Z, [F, F2], LABELS),
    "upsample: takes one of": lambda: losses.sad_loss(Z, MAPS, LABELS, upsample="nearest"),
    "channel_reduction: takes": lambda: losses.sad_loss(Z, MAPS, LABELS, channel_reduction="max"),
    "logits: takes .* not 1": lambda: losses.dks_loss([Z], LABELS),
    "features: takes .* 2 or more exits, not 1": lambda: losses.msd_loss([Z, Z2], [F], LABELS),
    "queries: takes .* 2 or more exits, not 1": lambda: losses.okddip_loss(
        [Z, Z2], Z3, [F], [F, F2], LABELS
    ),
    "leader_logits: shape": lambda: losses.okddip_loss([Z], Z[:2], [F], [F2], LABELS),
    "smoothing: takes a number from 0 to 1, not 2": lambda: losses.smooth_labels(LABELS, 5, 2),
    "spread: takes one of": lambda: losses.smooth_labels(LABELS, 5, 0.1, "some"),
    "classes: takes 2 or more": lambda: losses.smooth_labels(np.array([0]), 1),
    "correct_probability: takes": lambda: losses.virtual_teacher(LABELS, 5, 1.5),
    "alpha: takes a number from 0 to 1": lambda: losses.ps_kd_loss(Z, LABELS, Z, alpha=-0.1),
    "past_probabilities: shape": lambda: losses.ps_kd_loss(Z, LABELS, Z[1:], alpha=0.1),
    "epochs: takes 1 or more, not 0": lambda: losses.ps_kd_alpha(0, 0),
    "steps: takes 1 or more, not 0": lambda: losses.cosine_weight(0, 0, 1.0),
    "steps: takes 1 or more, not -1": lambda: losses.linear_warm_up(0, -1, 1.0),
    "share: takes a number above 0, not 0": lambda: losses.linear_warm_up(0, 10, 0.0),
    "share: takes a number from 0 to 1, not 2": lambda: losses.linear_warm_up(0, 10, 2),
    "replay_labels: must be given": lambda: losses.dlb_loss(Z, LABELS, Z2),
    "replay_labels: int": lambda: losses.dlb_loss(Z, LABELS, Z2, LABELS[1:], Z3),
    "replay_logits: 4 classes": lambda: losses.dlb_loss(Z, LABELS, Z[:, 1:], LABELS, Z),
    "replay_teacher_logits: shape": lambda: losses.dlb_loss(Z, LABELS, Z2, LABELS, Z3[1:]),
    "replay_weight: takes": lambda: losses.dlb_loss(
        Z, LABELS, Z2, LABELS, Z3, replay_weight=np.ones(2)
    ),
    "previous_logits: shape": lambda: losses.lightskd_loss(Z, Z2, LABELS, Z[1:]),
    "omega: takes a number below 1": lambda: losses.bake_targets(F, Z, omega=1.0),
    "features: takes a batch of 2": lambda: losses.bake_affinity(F[:1]),
    "features: a batch of 3": lambda: losses.bake_targets(F[1:], Z),
    r"dense_logits: takes \[batch": lambda: losses.vote_counts(Z),
    "scores: shape": lambda: losses.zipf_loss(Z, LABELS, F),
    "rank: takes one of": lambda: losses.uskd_loss(Z, Z2, LABELS, rank="logit"),
    "teacher_features: 2 teachers": lambda: losses.feed_loss(
        Z, [F], [F, F2], LABELS, feature_weight=1.0
    ),
    "member_logits: each": lambda: losses.ensemble_distribution_loss(Z, [Z[1:]]),
    "mixing_ratio: takes": lambda: losses.mixskd_loss(
        [Z, Z2], [Z2, Z], [], [], Z3, Z, SCORES, SCORES, LABELS, PARTNER, 1.3
    ),
    "partner: takes integers": lambda: losses.mixskd_loss(
        [Z, Z2], [Z2, Z], [], [], Z3, Z, SCORES, SCORES, LABELS, PARTNER[1:], 0.3
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_argument_is_named(message):
    with pytest.raises(ValueError, match=f"^(?:{message})") as error:
        WRONG[message]()
    assert "\n" not in str(error.value)
