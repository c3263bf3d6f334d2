"""Self-distillation of image classifiers in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skdsam_jax.trained import load
    from skdsam_jax.training import train

__version__ = "0.1.0"

__all__ = ["__version__", "load", "train"]

# Where they are; imported when they are asked for, so that the losses need nothing but JAX.
_HOMES = {"load": "skdsam_jax.trained", "train": "skdsam_jax.training"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
