"""Checks of the arguments of public functions: they convert what fits and name what does not.

Arrays come back in float32, or in their own type where that is wider. Everything else ends in a
ValueError of one line that begins with the argument's name. The losses and the attention build on
this module; it imports no other module of the library.
"""

import math
import numbers
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def widen(array: ArrayLike) -> jax.Array:
    """Returns `array` in float32, or as it is where its type is wider."""
    array = jnp.asarray(array)
    # Strict promotion refuses to combine types; here the wider one is meant.
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.promote_types(array.dtype, jnp.float32)
    return array.astype(dtype)


def as_matrix(name: str, array: ArrayLike) -> jax.Array:
    """Returns `array` in float32 or wider; raises a ValueError unless it is [batch, width]."""
    array = widen(array)
    if array.ndim != 2:
        raise ValueError(f"{name}: takes an array [batch, width], not one of shape {array.shape}")
    return array


def as_exits(name: str, arrays: Sequence[jax.Array], minimum: int) -> tuple[jax.Array, ...]:
    """Returns one matrix per exit; raises a ValueError if too few, or of different shapes."""
    exits = tuple(as_matrix(f"{name}[{i}]", array) for i, array in enumerate(arrays))
    if len(exits) < minimum:
        raise ValueError(
            f"{name}: takes one array for each of {minimum} or more exits, not {len(exits)}"
        )
    for i, array in enumerate(exits):
        if array.shape != exits[0].shape:
            raise ValueError(
                f"{name}[{i}]: shape {array.shape} is not {exits[0].shape}, the shape of {name}[0]"
            )
    return exits


def exits_like(
    logits: Sequence[jax.Array], name: str, arrays: Sequence[jax.Array]
) -> tuple[jax.Array, ...]:
    """Returns one matrix per exit, for as many exits and examples as `logits` has."""
    exits = as_exits(name, arrays, minimum=min(len(logits), 2))
    if len(exits) != len(logits):
        raise ValueError(f"{name}: {len(exits)} exits, but logits has {len(logits)}")
    if len(exits[0]) != len(logits[0]):
        raise ValueError(f"{name}: a batch of {len(exits[0])}, but logits has {len(logits[0])}")
    return exits


def as_maps(name: str, arrays: Sequence[jax.Array]) -> tuple[jax.Array, ...]:
    """Returns the maps [batch, height, width, channels] of one or more stages, of one batch."""
    maps = tuple(widen(array) for array in arrays)
    if not maps:
        raise ValueError(f"{name}: takes one map for each of 1 or more stages, not 0")
    for i, array in enumerate(maps):
        if array.ndim != 4:
            raise ValueError(
                f"{name}[{i}]: takes a map [batch, height, width, channels], "
                f"not one of shape {array.shape}"
            )
        check_batch(f"{name}[{i}]", array, f"{name}[0]", maps[0])
    return maps


def matrix_like(name: str, array: ArrayLike, like_name: str, like: jax.Array) -> jax.Array:
    """Returns `array` in the type of `like`; raises a ValueError unless it has its shape."""
    array = as_matrix(name, array)
    if array.shape != like.shape:
        raise ValueError(
            f"{name}: shape {array.shape} is not {like.shape}, the shape of {like_name}"
        )
    return array.astype(like.dtype)


def check_batch(name: str, array: jax.Array, like_name: str, like: jax.Array) -> None:
    """Raises a ValueError unless `array` has as many examples as `like`."""
    if len(array) != len(like):
        raise ValueError(f"{name}: a batch of {len(array)}, but {like_name} has {len(like)}")


def student_and_teacher(
    kind: str, student: ArrayLike, teacher: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Returns student and teacher as matrices of one shape, the teacher without its gradient."""
    student = as_matrix(f"student_{kind}", student)
    teacher = as_matrix(f"teacher_{kind}", teacher)
    if teacher.shape != student.shape:
        raise ValueError(
            f"teacher_{kind}: shape {teacher.shape} is not {student.shape}, "
            f"the shape of student_{kind}"
        )
    return student, jax.lax.stop_gradient(teacher)


def label_probabilities(labels: ArrayLike, logits: jax.Array) -> jax.Array:
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


def one_hot_labels(labels: ArrayLike, logits: jax.Array) -> jax.Array:
    """Returns integer labels as rows in the shape and type of `logits`; refuses probabilities."""
    labels = jnp.asarray(labels)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        raise ValueError(
            "labels: takes integers, because the loss asks which class is the label's, "
            f"not probabilities ({labels.dtype})"
        )
    return label_probabilities(labels, logits)


def check_fraction(name: str, value: ArrayLike) -> None:
    """Raises a ValueError for a number outside [0, 1]; an array may not be known yet."""
    if isinstance(value, numbers.Real) and not 0 <= value <= 1:
        raise ValueError(f"{name}: takes a number from 0 to 1, not {value}")


def check_temperature(name: str, temperature: ArrayLike) -> None:
    """Raises a ValueError for a number that is not positive; an array may not be known yet."""
    if isinstance(temperature, numbers.Real) and not 0 < temperature < math.inf:
        raise ValueError(f"{name}: takes a positive number, not {temperature}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises a ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name}: takes one of {', '.join(choices)}, not {value!r}")
