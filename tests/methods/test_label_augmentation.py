"""What is SLA's own: rotations, joint labels, aggregation, and who learns from what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.evaluation.metrics import exit_sums, summarize_exits
from skdsam_jax.methods import METHODS, create_method
from skdsam_jax.methods.label_augmentation import LabelAugmentation
from skdsam_jax.models import BasicBlock, ResNet
from skdsam_jax.models.variables import Functional

CLASSES, BATCH = 5, 6


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(0)
    images = generator.normal(size=(BATCH, 16, 16, 3)).astype(np.float32)
    return jnp.asarray(images), jnp.asarray(generator.integers(0, CLASSES, BATCH), jnp.int32)


def _network(name, **changes):
    def build(rngs):
        backbone = ResNet(BasicBlock, (1, 1), width=4, rngs=rngs)
        options = METHODS[name].Options(name=name, **changes)
        return create_method(options, backbone, CLASSES, rngs=rngs)

    return Functional(build)


def _batch(images, labels):
    return Batch(images, labels, jnp.arange(len(labels), dtype=jnp.int32))


@pytest.fixture(scope="module")
def cross_entropy():
    network = _network("sla_sd", aggregation_temperature=2.0)
    return network, *jax.jit(network.init)(0)


def _softmax(logits):
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def test_views_are_exact_rotations_side_by_side():
    images = np.random.default_rng(0).normal(size=(3, 5, 5, 2))
    views = np.asarray(LabelAugmentation.views(jnp.asarray(images, jnp.float32)))
    for i, image in enumerate(images.astype(np.float32)):
        for turn in range(4):
            np.testing.assert_array_equal(views[4 * i + turn], np.rot90(image, turn))


def test_images_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="rotations take square images, not 4x6"):
        LabelAugmentation.views(jnp.zeros((1, 4, 6, 3)))


def test_views_stay_on_their_device():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    by_batch = jax.sharding.NamedSharding(mesh, jax.P("data"))
    images = jax.device_put(jnp.zeros((8, 4, 4, 3)), by_batch)
    with jax.set_mesh(mesh):
        compiled = jax.jit(LabelAugmentation.views).lower(images).compile()
    assert compiled.output_shardings.is_equivalent_to(by_batch, 4)
    assert "all-" not in compiled.as_text()


@pytest.mark.parametrize("soft", [False, True])
def test_loss_is_the_published_one(cross_entropy, batch, soft):
    """In NumPy, from the features: what every row of the joint layer should predict."""
    network, params, model_state = cross_entropy
    images, labels = batch
    targets = np.eye(CLASSES)[labels]
    if soft:
        targets = 0.7 * targets + 0.3 * np.roll(targets, 1, axis=0)

    @jax.jit
    def compute(labels):
        method = network.merge(params, model_state)
        stages = method.classifier.backbone(method.views(images), train=True)
        return stages[-1].mean((1, 2)), network.merge(params, model_state).loss(
            _batch(images, labels)
        )

    given = jnp.asarray(targets, jnp.float32) if soft else labels
    features, (scalar, (terms, outputs)) = compute(given)
    features = np.asarray(features, np.float64).reshape(BATCH, 4, -1)
    joint = features @ params["joint"]["kernel"] + params["joint"]["bias"]
    dense = params["classifier"]["dense"]
    single = features[:, 0] @ dense["kernel"] + dense["bias"]

    aggregated = np.zeros((BATCH, CLASSES))
    joint_cross_entropy = np.zeros(BATCH)
    for turn in range(4):
        log_probabilities = np.log(_softmax(joint[:, turn]))
        for y in range(CLASSES):
            aggregated[:, y] += joint[:, turn, 4 * y + turn] / 4
            joint_cross_entropy -= targets[:, y] * log_probabilities[:, 4 * y + turn] / 4
    cross_entropy = -(targets * np.log(_softmax(single))).sum(-1)
    p, q = _softmax(aggregated / 2), _softmax(single / 2)
    divergence = (p * np.log(p / q)).sum(-1)

    np.testing.assert_allclose(outputs.others["aggregated"], aggregated, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(terms["cross_entropy"], cross_entropy, rtol=1e-4)
    np.testing.assert_allclose(terms["joint_cross_entropy"], joint_cross_entropy, rtol=1e-4)
    np.testing.assert_allclose(terms["aggregation_kl"], divergence, rtol=1e-3, atol=1e-5)
    expected = (cross_entropy + joint_cross_entropy + 2**2 * divergence).mean()
    np.testing.assert_allclose(scalar, expected, rtol=1e-4)

    rows = joint.reshape(4 * BATCH, -1)
    published, _ = losses.sla_sd_loss(rows, single, given, aggregation_temperature=2.0)
    np.testing.assert_allclose(scalar, published, rtol=1e-4)


def test_aggregation_trains_the_single_head_and_not_the_joint_one(cross_entropy, batch):
    network, params, model_state = cross_entropy

    @jax.jit
    @jax.grad
    def gradient(params):
        _, (terms, _) = network.merge(params, model_state).loss(_batch(*batch))
        return jnp.mean(terms["aggregation_kl"])

    gradients = gradient(params)
    assert not gradients["joint"]["kernel"].any()
    assert gradients["classifier"]["dense"]["kernel"].any()


def test_single_and_aggregated_inference_are_measured_apart(cross_entropy, batch):
    network, params, model_state = cross_entropy
    images, labels = batch

    @jax.jit
    def evaluate():
        outputs = network.merge(params, model_state).outputs(images, train=False)
        return outputs, exit_sums(outputs, labels, jnp.ones(BATCH))

    outputs, sums = evaluate()
    measures = summarize_exits(sums)
    single = np.argmax(outputs.logits[-1], -1) == labels
    aggregated = np.argmax(outputs.others["aggregated"], -1) == labels
    assert measures["accuracy"] == pytest.approx(np.mean(single))
    assert measures["aggregated_accuracy"] == pytest.approx(np.mean(aggregated))
    probabilities = _softmax(np.asarray(outputs.others["aggregated"], np.float64))[
        np.arange(BATCH), labels
    ]
    assert measures["aggregated_nll"] == pytest.approx(-np.log(probabilities).mean(), rel=1e-4)
    assert {"aggregated_top5_accuracy", "aggregated_calibration_error"} <= set(measures)


def test_the_shallow_exits_see_the_upright_images_alone(batch):
    """With running statistics an upright image's exits do not depend on its rotations."""
    images, _ = batch
    plain, augmented = _network("skdsam", energy="dot"), _network("skdsam_sla", energy="dot")
    params, model_state = jax.jit(augmented.init)(0)
    without = {name: tree for name, tree in params.items() if name != "joint"}

    @jax.jit
    def compute():
        first = plain.merge(without, model_state).outputs(images, train=False)
        return first, augmented.merge(params, model_state).outputs(images, train=False)

    expected, outputs = compute()
    assert not expected.others
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
        outputs._replace(others={}),
        expected,
    )
