"""What a run starts from: `config.model.initial`, another run or a file of arrays."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from skdsam_jax.interchange.hub import fetch, is_hub_name
from skdsam_jax.interchange.names import OURS, TORCHVISION, Naming, naming_of
from skdsam_jax.interchange.packages import require
from skdsam_jax.interchange.paths import by_path
from skdsam_jax.models import ModelOptions
from skdsam_jax.options import ConfigError
from skdsam_jax.trained import CheckpointError, Trained, load

_FIELD = "config.model.initial"


@dataclasses.dataclass(frozen=True)
class Source:
    """A classifier's arrays, on the host.

    Attributes:
      place: as the user named it.
      sha256: of the file, or a run's `params_digest`.
      naming: of the arrays' names, and their layout.
      arrays: by name.
      class_names: in the order of the logits; None where nothing says them.
    """

    place: str
    sha256: str
    naming: Naming
    arrays: Mapping[str, np.ndarray]
    class_names: tuple[str, ...] | None


def resolve(options: ModelOptions, begun: Mapping[str, Any]) -> ModelOptions:
    """Fills in the SHA-256 of what the network starts from.

    A run that began already does not need it any more: it may be gone, but not have changed.

    Args:
      options: of the experiment.
      begun: the section `model` of the config that the run began with; empty where none did.

    Raises:
      ConfigError: there is no such thing, it cannot be read, or it is not what it was.
    """
    if options.initial is None:
        if options.initial_sha256 is not None:
            raise ConfigError(f"{_FIELD}_sha256: takes None where {_FIELD} is None")
        return options
    known = begun.get("initial_sha256") if begun.get("initial") == options.initial else None
    if known is not None and not pathlib.Path(options.initial).expanduser().exists():
        found = known
    else:
        found = _identify(_find(options.initial))
    if options.initial_sha256 not in (None, found):
        raise _changed(options.initial, found, options.initial_sha256)
    return dataclasses.replace(options, initial_sha256=found)


def read(options: ModelOptions) -> Source:
    """Reads what resolved options name.

    Raises:
      ConfigError: it cannot be read, is not what it was when they were resolved, or names its
        layers as nobody does who has this backbone.
    """
    path = _find(options.initial)
    if path.is_dir():
        source = _of_run(options.initial, _load(path))
    else:
        source = _of_file(options.initial, _read(path), options.name)
    if source.sha256 != options.initial_sha256:
        raise _changed(options.initial, source.sha256, options.initial_sha256)
    return source


def _find(initial: str) -> pathlib.Path:
    """The run's folder or the file that was meant, fetched if it is on the hub."""
    path = pathlib.Path(initial).expanduser()
    if path.exists():
        return path
    if is_hub_name(initial):
        return fetch(initial, _FIELD)
    raise ConfigError(f"{_FIELD}: {initial} is neither a run's folder nor a file")


def _identify(path: pathlib.Path) -> str:
    if path.is_dir():
        return _load(path).params_digest
    return hashlib.sha256(_read(path)).hexdigest()


def _load(workdir: pathlib.Path) -> Trained:
    try:
        return load(workdir)
    except (ConfigError, CheckpointError) as error:
        raise ConfigError(f"{_FIELD}: {error}") from None


def _read(file: pathlib.Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{_FIELD}: {file} cannot be read ({error.strerror})") from None


def _of_run(place: str, trained: Trained) -> Source:
    arrays = by_path(trained.params["classifier"], trained.model_state["classifier"])
    return Source(place, trained.params_digest, OURS, jax.device_get(arrays), trained.class_names)


def _of_file(place: str, content: bytes, backbone: str) -> Source:
    safetensors = require("safetensors.numpy", f"{_FIELD}: a file")
    try:
        arrays = safetensors.load(content)
        metadata = _metadata(content)
        named = json.loads(metadata.get("class_names", "null"))
    except Exception as error:  # What is no such file fails in many ways.
        raise ConfigError(
            f"{_FIELD}: {place} cannot be read as a safetensors file ({error})"
        ) from None
    ours = metadata.get("names") == OURS.name
    naming = OURS if ours else naming_of(backbone)
    if naming is OURS and not ours:
        raise ConfigError(
            f"{_FIELD}: {place} names its layers as other libraries do, and those have no "
            f"{backbone}; known are {', '.join(TORCHVISION)}"
        )
    class_names = None if named is None else tuple(map(str, named))
    return Source(place, hashlib.sha256(content).hexdigest(), naming, arrays, class_names)


def _metadata(content: bytes) -> dict[str, str]:
    """Of a safetensors file: eight bytes that say how long it is, then a header in JSON."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]).get("__metadata__", {})


def _changed(place: str, found: str, before: str) -> ConfigError:
    return ConfigError(
        f"{_FIELD}: {place} holds {found[:12]}..., not {before[:12]}... of {_FIELD}_sha256"
    )
