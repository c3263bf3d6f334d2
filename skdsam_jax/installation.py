"""How this package came here: from a clone of the project, or from a wheel."""

import pathlib

PACKAGE = pathlib.Path(__file__).parent


def clone() -> pathlib.Path | None:
    """The folder of the clone that this package is imported from, None for an installed wheel."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "configs").is_dir() else None


def configs_folder() -> pathlib.Path:
    """Where the project's config files are: a wheel carries a copy of the clone's `configs/`."""
    root = clone()
    return PACKAGE / "configs" if root is None else root / "configs"


def install_command(extra: str) -> str:
    """What a user types to install what the extra called `extra` brings."""
    root = clone()
    if root is None:
        return f'pip install "skdsam_jax[{extra}]"'
    where = "." if root == pathlib.Path.cwd() else root
    return f'pip install -e "{where}[{extra}]"'
