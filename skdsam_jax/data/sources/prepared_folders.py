"""Where TFDS keeps prepared sets: `<data_dir>/<name>/<version>`, found without TFDS."""

import hashlib
import json
import os
import pathlib
import re
import shlex

from skdsam_jax.options import ConfigError


def data_folder(data_dir: str | None) -> pathlib.Path:
    """The folder of prepared sets: `data_dir`, `$TFDS_DATA_DIR`, or TFDS's own default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(chosen).expanduser().absolute()


def find_prepared(name: str, root: pathlib.Path) -> pathlib.Path | None:
    """Finds the newest version of a set prepared as `array_record`.

    Args:
      name: of the set in TFDS.
      root: the folder of prepared sets.

    Returns:
      The folder of that version, or None where the set is not prepared.

    Raises:
      ConfigError: the set is there only in other file formats, or its description is damaged.
    """
    others = set()
    for folder in sorted((root / name).glob("*"), key=_version, reverse=True):
        if not _version(folder) or not (folder / _DESCRIPTION).is_file():
            continue
        info = _read_json(folder / _DESCRIPTION)
        try:
            formats = {info.get("fileFormat", "tfrecord"), *info.get("alternativeFileFormats", ())}
        except TypeError as error:
            raise ConfigError(f"{folder / _DESCRIPTION}: cannot be read ({error})") from error
        if "array_record" in formats:
            return folder
        others |= formats
    if others:
        raise ConfigError(
            f"{root / name}: holds {name} only as {', '.join(sorted(others))}, but array_record "
            f"is needed; prepare it into another folder: {prepare_command(name, 'ANOTHER_FOLDER')}"
        )
    return None


def prepare_command(name: str, root: pathlib.Path | str) -> str:
    """What a user types to prepare a set."""
    return f"python -m skdsam_jax prepare {name} --data_dir {shlex.quote(str(root))}"


def split_sizes(folder: pathlib.Path) -> dict[str, int]:
    """The number of examples of each split of a prepared set.

    Raises:
      ConfigError: the set's description is damaged.
    """
    try:
        return {
            split["name"]: sum(map(int, split["shardLengths"]))
            for split in _read_json(folder / _DESCRIPTION)["splits"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{folder / _DESCRIPTION}: cannot be read ({error!r})") from error


def whole_sizes(folder: pathlib.Path) -> dict[str, int] | None:
    """The numbers of examples that a partial set should have; None where the set is whole.

    Raises:
      ConfigError: the set's description is damaged.
    """
    metadata = folder / "metadata.json"
    return _read_json(metadata).get("partial_of") if metadata.is_file() else None


def fingerprint(folder: pathlib.Path, *others: object) -> str:
    """Sixteen letters that change with the folder, every file in it, and `others`."""
    files = sorted(
        (file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in folder.iterdir()
    )
    identity = json.dumps([*others, str(folder.resolve()), files])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


_DESCRIPTION = "dataset_info.json"


def _read_json(path: pathlib.Path) -> dict:
    try:
        contents = json.loads(path.read_bytes())
        if not isinstance(contents, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    return contents


def _version(folder: pathlib.Path) -> tuple[int, ...]:
    """The numbers in the name of a version's folder; empty where it is no version."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", folder.name)
    return tuple(map(int, match.groups())) if match else ()
