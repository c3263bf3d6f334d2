"""What is a peer method's own: which of its outputs go where in its loss, and what it remembers.

Each method's scalar is built again from the backbone's stages by the equation's pure function.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toy_problem import CLASSES, TINY

from skdsam_jax import losses
from skdsam_jax.batch import Batch, Moment, join_reads
from skdsam_jax.methods import METHODS, TrainingSet, create_method
from skdsam_jax.methods.okddip import ramp_up
from skdsam_jax.models import create_backbone, global_average_pool

BATCH, SIZE, STEPS, EPOCHS = 6, 16, 5, 10


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


def _create(name, **options):
    settings = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    backbone = create_backbone(TINY, width=4, **settings)
    return create_method(METHODS[name].Options(**options), backbone, CLASSES, **settings)


def _moment(step):
    epoch, epoch_step = divmod(step, STEPS)
    return Moment(
        jnp.asarray(epoch),
        EPOCHS,
        jnp.asarray(step),
        EPOCHS * STEPS,
        jnp.asarray(epoch_step),
        jax.random.key(7),
    )


def _images(seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(BATCH, SIZE, SIZE, 3)))


LABELS = jnp.arange(BATCH, dtype=jnp.int32) % CLASSES
INDICES = 10 + jnp.arange(BATCH, dtype=jnp.int32)


def _batch(*reads, step=0, indices=None):
    indices = [INDICES] * len(reads) if indices is None else indices
    labels = join_reads(*[LABELS] * len(reads))
    return Batch(join_reads(*reads), labels, join_reads(*indices), _moment(step))


def _loss(method, batch, memory=None):
    """Scalar and terms, of a copy: running averages stay what they are."""
    graph, state = nnx.split(method)
    scalar, (terms, outputs) = nnx.merge(graph, state, copy=True).loss(batch, memory)
    return scalar, terms, outputs


def _logits(method, images):
    """The deepest exit's logits and features, normalised by the batch."""
    feature = global_average_pool(method.classifier.backbone(images, train=True)[-1])
    return method.classifier.dense(feature), feature


def _close(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_cs_kd_compares_an_anchor_with_its_partner():
    method = _create("cs_kd", weight=3.0)
    anchors, partners = _images(1), _images(2)
    scalar, *_ = _loss(method, _batch(anchors, partners))
    logits, partner_logits = (_logits(method, images)[0] for images in (anchors, partners))
    _close(scalar, losses.cs_kd_loss(logits, partner_logits, LABELS, weight=3.0)[0])


def test_cs_kd_averages_see_the_partners_last():
    method = _create("cs_kd")
    anchors, partners = _images(1), 5 + _images(2)
    method.loss(_batch(anchors, partners))
    expected = _create("cs_kd")
    for images in (anchors, partners):
        expected.classifier.backbone(images, train=True)
    for ours, theirs in zip(
        jax.tree.leaves(nnx.state(method, nnx.BatchStat)),
        jax.tree.leaves(nnx.state(expected, nnx.BatchStat)),
        strict=True,
    ):
        _close(ours, theirs)


def test_ddgsd_normalises_both_distortions_together():
    method = _create("ddgsd")
    both = join_reads(_images(1), _images(2))
    scalar, *_ = _loss(method, _batch(_images(1), _images(2)))
    logits, features = _logits(method, both)
    expected = losses.ddgsd_loss(logits[::2], logits[1::2], features[::2], features[1::2], LABELS)
    _close(scalar, expected[0])


def test_bake_counts_all_reads_and_measures_the_anchors():
    method = _create("bake", companions=2)
    reads = [_images(seed) for seed in range(3)]
    scalar, terms, outputs = _loss(method, _batch(*reads))
    logits, features = _logits(method, join_reads(*reads))
    expected, _ = losses.bake_loss(logits, features, join_reads(LABELS, LABELS, LABELS))
    _close(scalar, expected)
    _close(outputs.logits[-1], logits[::3])
    assert terms["kl"].shape == (3 * BATCH,)


def test_ps_kd_reads_and_replaces_the_rows_of_its_batch():
    method = _create("ps_kd", final_alpha=0.6)
    labels = jnp.arange(20, dtype=jnp.int32) % CLASSES
    memory = method.initial_memory(TrainingSet(labels, CLASSES, BATCH))
    np.testing.assert_array_equal(memory["probabilities"], np.eye(CLASSES)[labels])
    memory = {
        "probabilities": jax.nn.softmax(
            jnp.asarray(np.random.default_rng(3).normal(size=(20, CLASSES)))
        )
    }
    batch = _batch(_images(1), step=2 * STEPS + 1)
    scalar, _, outputs = _loss(method, batch, memory)
    logits, _ = _logits(method, _images(1))
    past = memory["probabilities"][10:16]
    _close(scalar, losses.ps_kd_loss(logits, LABELS, past, alpha=0.6 * 3 / EPOCHS)[0])

    after = method.remember(memory, batch, outputs, jnp.asarray(True))["probabilities"]
    _close(after[10:16], jax.nn.softmax(logits))
    np.testing.assert_array_equal(
        np.delete(after, np.s_[10:16], 0), np.delete(memory["probabilities"], np.s_[10:16], 0)
    )
    kept = method.remember(memory, batch, outputs, jnp.asarray(False))
    np.testing.assert_array_equal(kept["probabilities"], memory["probabilities"])


def test_dlb_replays_only_what_it_remembers():
    method = _create("dlb")
    memory = method.initial_memory(TrainingSet(LABELS, CLASSES, BATCH))
    new, replayed = _images(1), _images(2)
    logits, replay_logits = (_logits(method, images)[0] for images in (new, replayed))

    first, _, outputs = _loss(method, _batch(new, replayed), memory)
    _close(first, losses.dlb_loss(logits, LABELS)[0])

    memory = method.remember(memory, _batch(new, replayed), outputs, jnp.asarray(True))
    _close(memory["logits"], logits)
    following = _batch(replayed, new, step=1, indices=[INDICES + 6, INDICES])
    second, *_ = _loss(method, following, memory)
    _close(second, losses.dlb_loss(replay_logits, LABELS, logits, LABELS, logits)[0])

    other = _batch(replayed, new, step=1, indices=[INDICES + 6, INDICES[::-1]])
    _close(_loss(method, other, memory)[0], losses.dlb_loss(replay_logits, LABELS)[0])
    kept = method.remember(memory, following, outputs, jnp.asarray(False))
    jax.tree.map(np.testing.assert_array_equal, kept, memory)


def test_lightskd_forgets_at_the_start_of_an_epoch():
    method = _create("lightskd")
    memory = {"logits": jnp.asarray(np.random.default_rng(4).normal(size=(BATCH, CLASSES)))}
    for step, previous in ((STEPS, None), (STEPS + 1, memory["logits"])):
        scalar, _, outputs = _loss(method, _batch(_images(1), step=step), memory)
        branch, logits = outputs.logits
        _close(scalar, losses.lightskd_loss(logits, branch, LABELS, previous)[0])


def test_lightskd_leaves_out_what_has_no_weight():
    training_set = TrainingSet(LABELS, CLASSES, BATCH)
    shape_alone = _create("lightskd", guidance_weight=0.0)
    assert shape_alone.exits is None
    memory = shape_alone.initial_memory(training_set)
    _, terms, outputs = _loss(shape_alone, _batch(_images(1), step=1), memory)
    assert set(terms) == {"cross_entropy", "shape"}
    assert len(outputs.logits) == 1
    guidance_alone = _create("lightskd", shape_weight=0.0)
    assert guidance_alone.initial_memory(training_set) == {}
    _, terms, _ = _loss(guidance_alone, _batch(_images(1), step=1), {})
    assert set(terms) == {"cross_entropy", "branch_cross_entropy", "guidance"}


def test_zipf_lets_every_place_of_the_doubled_map_vote():
    method = _create("zipf", weight=1.0)
    scalar, *_ = _loss(method, _batch(_images(1)))
    deepest = method.classifier.backbone(_images(1), train=True)[-1]
    height, width, features = deepest.shape[1:]
    doubled = jax.image.resize(deepest, (BATCH, 2 * height, 2 * width, features), "bilinear")
    dense = method.classifier.dense(doubled).reshape(BATCH, -1, CLASSES)
    votes = np.stack([np.bincount(row, minlength=CLASSES) for row in np.argmax(dense, -1)])
    logits, _ = _logits(method, _images(1))
    expected = losses.zipf_loss(logits, LABELS, jnp.asarray(votes, jnp.float64), weight=1.0)
    _close(scalar, expected[0])


def test_sad_compares_all_stages():
    method = _create("sad")
    scalar, terms, _ = _loss(method, _batch(_images(1)))
    stages = method.classifier.backbone(_images(1), train=True)
    _close(scalar, losses.sad_loss(_logits(method, _images(1))[0], stages, LABELS)[0])
    assert terms["attention"].shape == (2, BATCH)


def test_uskd_reads_the_last_stage_but_one():
    method = _create("uskd")
    scalar, *_ = _loss(method, _batch(_images(1)))
    stages = method.classifier.backbone(_images(1), train=True)
    weak = method.weak(global_average_pool(stages[-2]))
    _close(scalar, losses.uskd_loss(_logits(method, _images(1))[0], weak, LABELS)[0])


def test_frskd_teaches_itself_by_its_refined_maps():
    method = _create("frskd", teacher_width=1, teacher_depth=1)
    scalar, _, outputs = _loss(method, _batch(_images(1)))
    stages = method.classifier.backbone(_images(1), train=True)
    refined, teacher_logits = method.self_teacher(stages, train=True)
    logits, _ = _logits(method, _images(1))
    _close(scalar, losses.frskd_loss(logits, stages, teacher_logits, refined, LABELS)[0])
    _close(outputs.others["self_teacher"], teacher_logits)


def test_msd_fades_its_feature_term_over_the_run():
    method = _create("msd", feature_weight=0.5)
    for step in (0, 20, EPOCHS * STEPS):
        batch = _batch(_images(1))._replace(moment=_moment(step))
        scalar, _, outputs = _loss(method, batch)
        beta = 0.5 * (1 + np.cos(np.pi * step / (EPOCHS * STEPS))) / 2
        expected = losses.msd_loss(outputs.logits, outputs.features, LABELS, feature_weight=beta)
        _close(scalar, expected[0])


@pytest.mark.parametrize(
    ("name", "exits"), [("dks", 3), ("msd", 3), ("lightskd", 2), ("okddip", 4)]
)
def test_number_of_exits(name, exits):
    _, _, outputs = _loss(_create(name), _batch(_images(1)), None)
    assert len(outputs.logits) == len(outputs.features) == exits


def test_okddip_weighs_its_peers_by_attention_and_ramps_up():
    method = _create("okddip", weight=0.7)
    scalar, _, outputs = _loss(method, _batch(_images(1), step=2 * STEPS))
    stages = method.classifier.backbone(_images(1), train=True)
    peers = method.peers(stages, train=True)
    leader, _ = _logits(method, _images(1))
    weight = 0.7 * np.exp(-5 * (1 - 2 / 4) ** 2)  # A third of ten epochs, rounded up, is four.
    expected = losses.okddip_loss(
        peers.logits, leader, peers.queries, peers.keys, LABELS, weight=weight
    )
    _close(scalar, expected[0])
    _close(outputs.logits[-1], leader)


@pytest.mark.parametrize(("epoch", "expected"), [(0, np.exp(-5)), (40, np.exp(-5 / 4)), (200, 1)])
def test_okddip_ramp_is_the_published_one_in_long_runs(epoch, expected):
    moment = _moment(0)._replace(epoch=jnp.asarray(epoch), epochs=300)
    _close(ramp_up(moment, 80), expected)


def test_mixskd_mixes_in_the_network_as_it_mixed_the_images():
    method = _create("mixskd")
    batch = _batch(_images(1))
    scalar, _, outputs = _loss(method, batch)
    ratio, partner = method._draw(batch)
    assert sorted(partner) == list(range(BATCH))
    assert 0 <= ratio <= 1
    ratio = float(ratio)
    mixed = ratio * batch.images + (1 - ratio) * batch.images[partner]
    stages = method.classifier.backbone(join_reads(batch.images, mixed), train=True)
    maps, both = method._exits(stages, train=True)
    clean_maps, mixed_maps = [m[::2] for m in maps], [m[1::2] for m in maps]
    interpolated = [ratio * m + (1 - ratio) * m[partner] for m in clean_maps]
    expected, _ = losses.mixskd_loss(
        [z[::2] for z in both.logits],
        [z[1::2] for z in both.logits],
        clean_maps,
        mixed_maps,
        method.fusion(interpolated),
        method.fusion(mixed_maps),
        [d(m) for d, m in zip(method.discriminators, interpolated, strict=True)],
        [d(m) for d, m in zip(method.discriminators, mixed_maps, strict=True)],
        LABELS,
        partner,
        ratio,
    )
    _close(scalar, expected)
    _close(outputs.others["fusion"], method.fusion(clean_maps))
