"""Every wrong argument of a loss is named in a ValueError, with and without jit."""

import jax
import numpy as np
import pytest

from skdsam_jax import losses

LOGITS = [np.zeros((4, 3), np.float32)] * 3
FEATURES = [np.ones((4, 5), np.float32)] * 3
PROJECTIONS = [np.ones((4, 6), np.float32)] * 3
LABELS = np.array([0, 1, 2, 0])

PAIRS = {
    "logits": lambda student, teacher: losses.distillation_kl(student, teacher, 4.0),
    "features": losses.normalized_l1,
    "features ": losses.squared_l2,
}


def kd(student=LOGITS[0], teacher=LOGITS[0], labels=LABELS, temperature=4.0):
    return losses.knowledge_distillation_loss(
        student, teacher, labels, weight=1.0, temperature=temperature
    )


def byot(logits=LOGITS, features=FEATURES, labels=LABELS, **settings):
    return losses.byot_loss(logits, features, labels, **settings)


def pd_byot(logits=LOGITS, features=FEATURES, labels=LABELS, **settings):
    return losses.pd_byot_loss(logits, features, labels, **settings)


def skdsam(logits=LOGITS, features=FEATURES, projections=PROJECTIONS, labels=LABELS, **settings):
    return losses.skdsam_loss(logits, features, projections, labels, **settings)


def entropy(labels):
    return losses.cross_entropy(LOGITS[0], labels)


@pytest.mark.parametrize("function", [entropy, byot, pd_byot, skdsam, kd])
@pytest.mark.parametrize(
    ("message", "labels"),
    [
        (r"int.* must have shape \(4,\), not \(3,\)", LABELS[:3]),
        (r"int.* must have shape \(4,\), not \(4, 3\)", np.eye(3, dtype=int)[LABELS]),
        (r"int.* must have shape \(4,\), not \(\)", np.array(1)),
        (r"float.* must have shape \(4, 3\), not \(4,\)", LABELS.astype(np.float32)),
        (r"float.* must have shape \(4, 3\), not \(4, 2\)", np.ones((4, 2), np.float32)),
        ("takes integers or probabilities, not bool", LABELS > 0),
    ],
)
def test_labels(function, message, labels):
    with pytest.raises(ValueError, match=f"^labels: {message}"):
        function(labels=labels)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    ("side", "student", "teacher"),
    [
        ("student", LOGITS[0][0], LOGITS[0]),
        ("teacher", LOGITS[0], LOGITS[0][0]),
        ("teacher", LOGITS[0], LOGITS[0][:1]),
        ("teacher", LOGITS[0], LOGITS[0][:, :1]),
    ],
)
def test_pairs_of_student_and_teacher(kind, side, student, teacher):
    with pytest.raises(ValueError, match=f"^{side}_{kind.strip()}: .*shape"):
        PAIRS[kind](student, teacher)


@pytest.mark.parametrize("function", [byot, pd_byot, skdsam])
@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("logits: takes .* 2 or more exits, not 1", {"logits": LOGITS[:1]}),
        ("logits: takes .* 2 or more exits, not 0", {"logits": []}),
        ("features: takes .* 2 or more exits, not 1", {"features": FEATURES[:1]}),
        ("features: 2 exits, but logits has 3", {"features": FEATURES[:2]}),
        (r"logits\[0\]: takes", {"logits": LOGITS[0]}),
        (r"features\[0\]: takes", {"features": [np.ones((4, 2, 2, 5), np.float32)] * 3}),
        (r"logits\[2\]: shape", {"logits": [*LOGITS[:2], LOGITS[2][:, :2]]}),
        (r"features\[1\]: shape", {"features": [FEATURES[0], FEATURES[1][:2], FEATURES[2]]}),
        ("features: a batch of 2", {"features": [array[:2] for array in FEATURES]}),
        ("temperature: takes a positive number, not 0", {"temperature": 0.0}),
        ("temperature: takes a positive number, not -3", {"temperature": -3}),
    ],
)
def test_losses_of_networks(function, message, arguments):
    with pytest.raises(ValueError, match=f"^{message}"):
        function(**arguments)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("projections: 2 exits, but logits has 3", {"projections": PROJECTIONS[:2]}),
        (
            "projections: 2 exits, but logits has 3",
            {"projections": PROJECTIONS[:2], "energy": "uniform"},
        ),
        ("projections: a batch of 2", {"projections": [array[:2] for array in PROJECTIONS]}),
        (r"projections\[2\]: shape", {"projections": [*PROJECTIONS[:2], PROJECTIONS[2][:, 1:]]}),
        ("projections: must be given .* not 'dot'", {"projections": None, "energy": "dot"}),
        ("projections: must be given .* not 'softmax_dot'", {"projections": None}),
        ("energy: takes one of", {"energy": "cosine"}),
        ("energy: takes one of", {"energy": "cosine", "projections": None}),
        ("feature_reduction: takes one of mean, sum, not 'max'", {"feature_reduction": "max"}),
        ("attention_temperature: takes a positive number", {"attention_temperature": 0}),
        ("temperature: takes a positive number", {"temperature": float("inf")}),
    ],
)
def test_skdsam(message, arguments):
    with pytest.raises(ValueError, match=f"^{message}"):
        skdsam(**arguments)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("student_logits: takes", {"student": LOGITS[0][0]}),
        ("teacher_logits: shape", {"teacher": LOGITS[0][:, :2]}),
        ("temperature: takes a positive number", {"temperature": 0}),
    ],
)
def test_knowledge_distillation(message, arguments):
    with pytest.raises(ValueError, match=f"^{message}"):
        kd(**arguments)


def test_single_arguments():
    with pytest.raises(ValueError, match=r"^logits: takes"):
        losses.cross_entropy(LOGITS[0][0], LABELS)
    with pytest.raises(ValueError, match=r"^temperature: takes a positive number"):
        losses.distillation_kl(LOGITS[0], LOGITS[0], 0)
    with pytest.raises(ValueError, match=r"^reduction: takes one of mean, sum, not 'none'"):
        losses.normalized_l1(FEATURES[0], FEATURES[0], "none")


def test_under_jit():
    with pytest.raises(ValueError, match=r"^features: 2 exits"):
        jax.jit(byot)(LOGITS, FEATURES[:2], LABELS)
