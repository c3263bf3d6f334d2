"""Which arrays of a source a network takes, and which layers start anew."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from skdsam_jax.interchange.initial import Source
from skdsam_jax.options import ConfigError

# PyTorch counts the batches that each normalisation saw; nothing here reads that.
_COUNTS = ".num_batches_tracked"

# Of arrays by name, in our layout.
Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a network starts.

    Attributes:
      arrays: what was taken, by path in the classifier.
      record: plain values for people and `summary.json`: `source`, its `sha256`, how many arrays
        were `taken`, and what starts `anew`, each with the reason.
    """

    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any]

    def __str__(self) -> str:
        record = self.record
        anew = (f"{part} ({reason})" for part, reason in record["anew"].items())
        return (
            f"starts from {record['source']} (SHA-256 {record['sha256'][:12]}...): "
            f"{record['taken']} arrays taken; anew: {', '.join(anew) or 'nothing'}"
        )


def match(
    source: Source,
    network: Mapping[str, jax.ShapeDtypeStruct],
    *,
    backbone: str,
    class_names: Sequence[str],
    others: Sequence[str] = (),
) -> Start:
    """Finds the arrays of a classifier in a source.

    The first layers start anew where theirs have other shapes, and the head where the classes are
    others, or of another number where the source does not name them.

    Args:
      source: where from.
      network: the classifier's arrays by path.
      backbone: its name.
      class_names: of the new classes.
      others: what the method trains beside the classifier, which always starts anew.

    Raises:
      ConfigError: the source is another network; names the first array that says so.
    """
    naming = source.naming
    paths = {naming.translate(path): path for path in network}
    arrays = {
        name: naming.from_file(array)
        for name, array in source.arrays.items()
        if not name.endswith(_COUNTS)
    }
    here = {name: tuple(network[path].shape) for name, path in paths.items()}
    there = {name: array.shape for name, array in arrays.items()}
    reasons = {
        "stem": _other_stem(_within(there, naming.stem), _within(here, naming.stem)),
        "head": _other_head(
            _within(there, naming.head),
            _within(here, naming.head),
            source.class_names,
            tuple(class_names),
        ),
    }
    anew = {part: reason for part, reason in reasons.items() if reason is not None}
    for part in anew:
        left = getattr(naming, part)
        here, there = (
            {name: shape for name, shape in shapes.items() if not name.startswith(left)}
            for shapes in (here, there)
        )
    _check(source.place, backbone, there, here)
    record = {
        "source": source.place,
        "sha256": source.sha256,
        "taken": len(here),
        "anew": anew | dict.fromkeys(others, "of the method"),
    }
    return Start({paths[name]: arrays[name] for name in here}, record)


def _within(shapes: Shapes, beginnings: tuple[str, ...]) -> Shapes:
    return {name: shape for name, shape in shapes.items() if name.startswith(beginnings)}


def _other_stem(there: Shapes, here: Shapes) -> str | None:
    """Why the first layers cannot be taken; None: they can, or `_check` says why not."""
    theirs, ours = map(_kernel, (there, here))
    if None in (theirs, ours) or theirs == ours:
        return None
    return f"{theirs} there, {ours} here"


def _kernel(shapes: Shapes) -> str | None:
    """The shape of the first convolution, such as 7x7x3x64."""
    kernels = ("x".join(map(str, shape)) for shape in shapes.values() if len(shape) == 4)
    return next(kernels, None)


def _other_head(
    there: Shapes, here: Shapes, names_there: tuple[str, ...] | None, names: tuple[str, ...]
) -> str | None:
    """Why the last layer cannot be taken; None: it can."""
    if not there:
        return "none there"
    if names_there not in (None, names):
        return f"classes {_some(names_there)} there, {_some(names)} here"
    if there != here:
        return f"{next(iter(there.values()))[-1]} classes there, {len(names)} here"
    return None


def _some(names: tuple[str, ...]) -> str:
    return f"{names[0]} to {names[-1]} ({len(names)})"


def _check(place: str, backbone: str, there: Shapes, here: Shapes) -> None:
    """Raises a ConfigError unless both have the same arrays of the same shapes."""
    different = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    if not different:
        return
    name, *more = different
    if name not in there:
        what = f"has no {name}"
    elif name not in here:
        what = f"has {name} too"
    else:
        what = f"has {name} of shape {list(there[name])}, not {list(here[name])}"
    rest = f"; {len(more)} more arrays differ" if more else ""
    raise ConfigError(
        f"config.model.initial: {place} is another network than {backbone} of this width: it "
        f"{what}{rest}"
    )
