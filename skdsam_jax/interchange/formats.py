"""A trained network as a file in a format that others read."""

import importlib
import os
import pathlib
import tempfile

from skdsam_jax.options import ConfigError, find
from skdsam_jax.trained import Trained

# Format to its module, whose `files` gives contents by what their name ends with behind FILE. The
# packages that a module needs are not always there.
FORMATS = {
    "stablehlo": "skdsam_jax.interchange.stablehlo_file",
    "safetensors": "skdsam_jax.interchange.safetensors_file",
    "onnx": "skdsam_jax.interchange.onnx_file",
}


def export(trained: Trained, kind: str, file: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes the network at inference, without exits; docs/interchange.md has the formats.

    Args:
      trained: as `skdsam_jax.load` gives it.
      kind: a name of `FORMATS`.
      file: what is written; one that is there is replaced, as a whole.

    Returns:
      The files that were written, `file` first.

    Raises:
      ConfigError: there is no such format, it needs a package that is missing, it cannot hold this
        network, or the file cannot be written.
    """
    module = importlib.import_module(find(FORMATS, kind, "--format", kind="format"))
    path = pathlib.Path(file).expanduser()
    contents = module.files(trained)
    written = [path.with_name(path.name + ending) for ending in contents]
    try:
        for target, content in zip(written, contents.values(), strict=True):
            _replace(target, content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None
    return written


def _replace(file: pathlib.Path, content: bytes) -> None:
    """Writes a file of which readers see all or nothing."""
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        temporary = pathlib.Path(new.name)
        try:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
            temporary.chmod(0o644)
            temporary.replace(file)
        except OSError:
            temporary.unlink()
            raise
