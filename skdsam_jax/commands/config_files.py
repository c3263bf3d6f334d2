"""Finds what `--config` names: a path, or one of the project's own files by file name or stem."""

import pathlib

from skdsam_jax.installation import configs_folder
from skdsam_jax.options import ConfigError, known


def config_names() -> list[str]:
    """The stems of the project's config files."""
    return sorted(path.stem for path in configs_folder().glob("*.py"))


def find_config(given: str) -> pathlib.Path:
    """The file that `--config` names, without what stands behind its colon.

    Args:
      given: a path; or `NAME`, `NAME.py` or `configs/NAME.py` of the project's own files, which are
        found from any folder. A file that is there goes first.

    Raises:
      ConfigError: there is none; says which there are and which was probably meant.
    """
    path = pathlib.Path(given)
    if path.is_file():
        return path
    own = configs_folder() / f"{path.name.removesuffix('.py')}.py"
    if str(path.parent) in (".", "configs") and own.is_file():
        return own
    meant = known(own.stem, config_names(), every=True)
    raise ConfigError(f"--config: there is no file {given}; {meant}")
