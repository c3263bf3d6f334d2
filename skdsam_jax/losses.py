"""The losses of self-distillation: pure functions of logits, features and labels.

A network with C exits gives one array per exit, from shallow to deep: logits z^i [batch, classes]
and pooled features F_i [batch, D]. The deepest exit C is the teacher of the shallow ones. No
gradient reaches it through a comparison with a student: wherever an argument is called "teacher",
and for the last array in the losses of a whole network, `jax.lax.stop_gradient` stands in between.

Everything is computed in float32, or in the inputs' type where that is wider. Labels are either
integers [batch] or probabilities [batch, classes]; an integer that names no class gives NaN.

The losses of a whole network return a scalar, the mean over the batch, and `terms`: the
per-example parts it is made of, without any of the weights.

"Thesis" in the docstrings is the one that introduced SKDSAM, "Self-Knowledge Distillation with
Self-Attention Mechanism", and PD-BYOT; it is written in Chinese.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skdsam_jax.attention import (
    ENERGIES,
    as_exits,
    as_matrix,
    attention_weights,
    check_choice,
    check_temperature,
    soften,
)

__all__ = [
    "REDUCTIONS",
    "attention_weights",
    "byot_loss",
    "cross_entropy",
    "distillation_kl",
    "knowledge_distillation_loss",
    "normalized_l1",
    "pd_byot_loss",
    "skdsam_loss",
    "soften",
    "squared_l2",
]

REDUCTIONS = ("mean", "sum")
"""The values `reduction` takes, see `normalized_l1`."""

_SMALLEST_NORM = 1e-12

Loss = tuple[jax.Array, dict[str, jax.Array]]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of labels and predictions, in nats.

    Equation: CE = -sum_j y_j log softmax(z)_j

    Args:
      logits: z, [batch, classes].
      labels: y, integers [batch] or probabilities [batch, classes].

    Returns:
      [batch].

    Raises:
      ValueError: `logits` or `labels` of another shape, or labels that are not numbers.

    Source: thesis equations 2.2 and 3.8.
    """
    logits = as_matrix("logits", logits)
    probabilities = _label_probabilities(labels, logits)
    return -jnp.sum(probabilities * jax.nn.log_softmax(logits, axis=-1), axis=-1)


def distillation_kl(
    student_logits: jax.Array, teacher_logits: jax.Array, temperature: ArrayLike
) -> jax.Array:
    """Kullback-Leibler divergence of the student from the teacher, both softened, in nats.

    Equation: KL(p || q) = sum_j p_j (log p_j - log q_j), p = softmax(z_teacher / T),
    q = softmax(z_student / T)

    The factor T^2, which keeps the size of the gradient independent of T, is left to the caller.

    Args:
      student_logits: [batch, classes].
      teacher_logits: [batch, classes]; no gradient reaches it.
      temperature: T > 0.

    Returns:
      [batch]; 0 where the two agree.

    Raises:
      ValueError: shapes that differ or are not [batch, classes], or `temperature` not positive.

    Source: thesis equations 2.3 and 3.9 (there times T^2); Hinton et al. 2015, arXiv:1503.02531.
    The thesis writes KL(q^i, q^C), student first; as in all code of the field the divergence is
    taken from the teacher's distribution.
    """
    check_temperature("temperature", temperature)
    student, teacher = _pair("logits", student_logits, teacher_logits)
    student = jax.nn.log_softmax(student / temperature, axis=-1)
    teacher = jax.nn.log_softmax(teacher / temperature, axis=-1)
    return jnp.sum(jnp.exp(teacher) * (teacher - student), axis=-1)


def squared_l2(student_features: jax.Array, teacher_features: jax.Array) -> jax.Array:
    """Squared Euclidean distance of the features.

    Equation: ||F_student - F_teacher||_2^2, a sum over D

    Args:
      student_features: [batch, D].
      teacher_features: [batch, D]; no gradient reaches it.

    Returns:
      [batch].

    Raises:
      ValueError: shapes that differ or are not [batch, D].

    Source: thesis equation 2.4; Zhang et al., ICCV 2019, arXiv:1905.08094.
    """
    student, teacher = _pair("features", student_features, teacher_features)
    return jnp.sum(jnp.square(student - teacher), axis=-1)


def normalized_l1(
    student_features: jax.Array, teacher_features: jax.Array, reduction: str = "mean"
) -> jax.Array:
    """L1 distance of the features after each is scaled to Euclidean length 1.

    Equation: || F_student / ||F_student||_2 - F_teacher / ||F_teacher||_2 ||_1

    Norms below 1e-12 count as 1e-12. Features that are all zero stay zero and get gradient 0.

    Args:
      student_features: [batch, D].
      teacher_features: [batch, D]; no gradient reaches it.
      reduction: "mean" or "sum" over D. The equation has the sum, up to 2 sqrt(D); but only with
        the mean is the thesis's weight beta = 100 of the order of the other terms.

    Returns:
      [batch].

    Raises:
      ValueError: shapes that differ or are not [batch, D], or an unknown `reduction`.

    Source: thesis equation 3.10.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    student, teacher = _pair("features", student_features, teacher_features)
    distance = jnp.abs(_unit_length(student) - _unit_length(teacher))
    return jnp.mean(distance, axis=-1) if reduction == "mean" else jnp.sum(distance, axis=-1)


def byot_loss(
    logits: Sequence[jax.Array],
    features: Sequence[jax.Array],
    labels: jax.Array,
    *,
    alpha: ArrayLike = 0.3,
    feature_weight: ArrayLike = 1e-4,
    temperature: ArrayLike = 3.0,
) -> Loss:
    """BYOT, "Be Your Own Teacher": every shallow exit learns from the labels and the deepest exit.

    Equation: L = sum_{i=1..C} (1 - alpha) CE(z^i, y) + alpha KL(q^C || q^i)
    + lambda ||F_i - F_C||_2^2, where q^i = softmax(z^i / T); averaged over the batch

    For the deepest exit, i = C, only the cross-entropy is not zero; read literally, its weight is
    1 - alpha too. There is no factor T^2.

    Args:
      logits: z^i, C >= 2 arrays [batch, classes], shallow to deep.
      features: F_i, C arrays [batch, D].
      labels: y, integers [batch] or probabilities [batch, classes].
      alpha: the share of the teacher against the labels.
      feature_weight: lambda.
      temperature: T > 0.

    Returns:
      The scalar and its terms: "cross_entropy" [C, batch], "kl" and "feature" [C - 1, batch].

    Raises:
      ValueError: fewer than two exits, sequences of different lengths, shapes that do not fit, or
        `temperature` not positive.

    Source: thesis equation 2.5; Zhang et al., ICCV 2019, arXiv:1905.08094.
    """
    return pd_byot_loss(
        logits,
        features,
        labels,
        alpha=alpha,
        feature_weight=feature_weight,
        temperature=temperature,
        decay_ce=1.0,
        decay_kl=1.0,
        decay_feature=1.0,
    )


def pd_byot_loss(
    logits: Sequence[jax.Array],
    features: Sequence[jax.Array],
    labels: jax.Array,
    *,
    alpha: ArrayLike = 0.3,
    feature_weight: ArrayLike = 1e-4,
    temperature: ArrayLike = 3.0,
    decay_ce: ArrayLike = 0.6,
    decay_kl: ArrayLike = 1.1,
    decay_feature: ArrayLike = 1.0,
) -> Loss:
    """PD-BYOT, BYOT with per-block decay: the terms of an exit fade with its distance to the end.

    Equation: L = (1 - alpha) sum_{i=1..C} d_CE^(C-i) CE(z^i, y)
    + alpha sum_{i=1..C} d_KL^(C-i) KL(q^C || q^i)
    + lambda sum_{i=1..C} d_feature^(C-i) ||F_i - F_C||_2^2; averaged over the batch

    Args:
      logits: z^i, C >= 2 arrays [batch, classes], shallow to deep.
      features: F_i, C arrays [batch, D].
      labels: y, integers [batch] or probabilities [batch, classes].
      alpha: the share of the teacher against the labels.
      feature_weight: lambda.
      temperature: T > 0.
      decay_ce: d_CE; the deepest exit's factor is d^0 = 1, a value above 1 favours shallow exits.
      decay_kl: d_KL.
      decay_feature: d_feature.

    Returns:
      The scalar and its terms: "cross_entropy" [C, batch], "kl" and "feature" [C - 1, batch], none
      of them decayed.

    Raises:
      ValueError: fewer than two exits, sequences of different lengths, shapes that do not fit, or
        `temperature` not positive.

    Source: thesis equations 2.6 to 2.9.
    """
    logits = as_exits("logits", logits, minimum=2)
    features = _exits_like(logits, "features", features)
    terms = {
        "cross_entropy": jnp.stack([cross_entropy(z, labels) for z in logits]),
        "kl": jnp.stack([distillation_kl(z, logits[-1], temperature) for z in logits[:-1]]),
        "feature": jnp.stack([squared_l2(f, features[-1]) for f in features[:-1]]),
    }
    # The terms of the deepest exit that are always zero are absent, so count from the shallow end.
    depth = len(logits) - 1

    def decayed(name: str, decay: ArrayLike) -> jax.Array:
        return sum(decay ** (depth - i) * term for i, term in enumerate(terms[name]))

    loss = (
        (1 - alpha) * decayed("cross_entropy", decay_ce)
        + alpha * decayed("kl", decay_kl)
        + feature_weight * decayed("feature", decay_feature)
    )
    return jnp.mean(loss), terms


def skdsam_loss(
    logits: Sequence[jax.Array],
    features: Sequence[jax.Array],
    projections: Sequence[jax.Array] | None,
    labels: jax.Array,
    *,
    distillation_weight: ArrayLike = 1.5,
    feature_weight: ArrayLike = 100.0,
    temperature: ArrayLike = 4.0,
    attention_temperature: ArrayLike = 4.0,
    energy: str = "softmax_dot",
    feature_reduction: str = "mean",
) -> Loss:
    """SKDSAM: labels teach the deepest exit, which teaches the shallow ones, weighed by attention.

    Equation: L = CE(z^C, y) + lambda sum_{i=1..C-1} a_i (T^2 KL(q^C || q^i)
    + beta || F_i / ||F_i||_2 - F_C / ||F_C||_2 ||_1), where q^i = softmax(z^i / T) and a_i are the
    `attention_weights` of query p_C and keys p_1 ... p_{C-1}; averaged over the batch

    The gradient passes through a_i into the projections; whether it goes on into the features that
    were projected is for the caller to decide. It raises the weights of exits with a small loss.

    Args:
      logits: z^i, C >= 2 arrays [batch, classes], shallow to deep.
      features: F_i, C arrays [batch, D].
      projections: p_i, C arrays [batch, P]: the features after their projections, the deepest one
        being the query. May be None if `energy` is "uniform".
      labels: y, integers [batch] or probabilities [batch, classes].
      distillation_weight: lambda.
      feature_weight: beta; 100 suits the mean over D.
      temperature: T > 0, for the logits.
      attention_temperature: T' > 0, for the projections.
      energy: one of `skdsam_jax.attention.ENERGIES`, see `attention_weights`.
      feature_reduction: "mean" or "sum" over D, see `normalized_l1`.

    Returns:
      The scalar and its terms: "cross_entropy" [batch], "kl" (without T^2), "feature" (without
      beta) and "attention", all [C - 1, batch].

    Raises:
      ValueError: fewer than two exits, sequences of different lengths, shapes that do not fit, a
        temperature that is not positive, an unknown `energy` or `feature_reduction`, or
        projections missing where the energy needs them.

    Source: thesis equations 3.11 to 3.13.
    """
    check_temperature("attention_temperature", attention_temperature)
    check_choice("energy", energy, ENERGIES)
    check_choice("feature_reduction", feature_reduction, REDUCTIONS)
    logits = as_exits("logits", logits, minimum=2)
    features = _exits_like(logits, "features", features)
    if projections is None and energy != "uniform":
        raise ValueError(f"projections: must be given unless energy is 'uniform', not {energy!r}")
    # Of its arguments "uniform" reads the shapes only, and the features have the right ones.
    keys = _exits_like(logits, "projections", features if projections is None else projections)
    attention = attention_weights(keys[-1], keys[:-1], attention_temperature, energy)
    ce = cross_entropy(logits[-1], labels)
    kl = jnp.stack([distillation_kl(z, logits[-1], temperature) for z in logits[:-1]])
    feature = jnp.stack([normalized_l1(f, features[-1], feature_reduction) for f in features[:-1]])
    students = jnp.sum(attention * (temperature**2 * kl + feature_weight * feature), axis=0)
    terms = {"cross_entropy": ce, "kl": kl, "feature": feature, "attention": attention}
    return jnp.mean(ce + distillation_weight * students), terms


def knowledge_distillation_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    *,
    weight: ArrayLike,
    temperature: ArrayLike,
) -> Loss:
    """Knowledge distillation: a student learns from the labels and from another network's logits.

    Equation: L = CE(z_s, y) + lambda T^2 KL(softmax(z_t / T) || softmax(z_s / T)); averaged over
    the batch

    This is the thesis's form: it has the factor T^2, and the cross-entropy keeps its full weight
    (not 1 - lambda, as some codes have it). On the order of the divergence see `distillation_kl`.

    Args:
      student_logits: z_s, [batch, classes].
      teacher_logits: z_t, [batch, classes]; no gradient reaches it.
      labels: y, integers [batch] or probabilities [batch, classes].
      weight: lambda.
      temperature: T > 0.

    Returns:
      The scalar and its terms: "cross_entropy" and "kl" (without T^2), both [batch].

    Raises:
      ValueError: shapes that do not fit, or `temperature` not positive.

    Source: thesis equation 1.2; Hinton et al. 2015, arXiv:1503.02531.
    """
    # The divergence comes first: its errors call the student's logits by their name.
    kl = distillation_kl(student_logits, teacher_logits, temperature)
    ce = cross_entropy(student_logits, labels)
    return jnp.mean(ce + weight * temperature**2 * kl), {"cross_entropy": ce, "kl": kl}


def _label_probabilities(labels: ArrayLike, logits: jax.Array) -> jax.Array:
    """Returns `labels` as probabilities in the shape and type of `logits`."""
    labels = jnp.asarray(labels)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        expected = logits.shape
    elif jnp.issubdtype(labels.dtype, jnp.integer):
        expected = logits.shape[:1]
    else:
        raise ValueError(f"labels: takes integers or probabilities, not {labels.dtype}")
    if labels.shape != expected:
        raise ValueError(
            f"labels: {labels.dtype} labels for logits {logits.shape} must have shape "
            f"{expected}, not {labels.shape}"
        )
    if labels.ndim == 2:
        return labels.astype(logits.dtype)
    classes = logits.shape[1]
    labels = labels.astype(jnp.int32)  # in uint8 the number of classes itself may overflow
    one_hot = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
    # A label that names no class gives a row of zeros, hence a silent loss of 0.
    names_class = (labels >= 0) & (labels < classes)
    return jnp.where(names_class[:, None], one_hot, jnp.nan)


def _pair(kind: str, student: ArrayLike, teacher: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Returns student and teacher as matrices of one shape, the teacher without its gradient."""
    student = as_matrix(f"student_{kind}", student)
    teacher = as_matrix(f"teacher_{kind}", teacher)
    if teacher.shape != student.shape:
        raise ValueError(
            f"teacher_{kind}: shape {teacher.shape} is not {student.shape}, "
            f"the shape of student_{kind}"
        )
    return student, jax.lax.stop_gradient(teacher)


def _exits_like(
    logits: Sequence[jax.Array], name: str, arrays: Sequence[jax.Array]
) -> tuple[jax.Array, ...]:
    """Returns one matrix per exit, for as many exits and examples as `logits` has."""
    exits = as_exits(name, arrays, minimum=2)
    if len(exits) != len(logits):
        raise ValueError(f"{name}: {len(exits)} exits, but logits has {len(logits)}")
    if len(exits[0]) != len(logits[0]):
        raise ValueError(f"{name}: a batch of {len(exits[0])}, but logits has {len(logits[0])}")
    return exits


def _unit_length(features: jax.Array) -> jax.Array:
    """Scales each row to Euclidean length 1; a row of zeros stays as it is, with gradient 0."""
    squared = jnp.sum(jnp.square(features), axis=-1, keepdims=True)
    nonzero = squared > 0
    # The square root has no derivative at 0; a NaN there would outlive the selection below.
    norm = jnp.sqrt(jnp.where(nonzero, squared, 1.0))
    return jnp.where(nonzero, features / jnp.maximum(norm, _SMALLEST_NORM), 0.0)
