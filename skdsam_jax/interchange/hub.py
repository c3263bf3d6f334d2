"""Hugging Face's hub: files of arrays by the name of their repository."""

import pathlib
import re

from skdsam_jax.interchange.packages import require
from skdsam_jax.options import ConfigError

FILE = "model.safetensors"
"""What timm's repositories call their arrays."""

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_name(name: str) -> bool:
    """Whether `name` is such as timm/resnet18.a1_in1k, and no path into a folder that is there."""
    return bool(_NAME.fullmatch(name)) and not pathlib.Path(name).parent.exists()


def fetch(name: str, field: str) -> pathlib.Path:
    """The arrays' file of the repository `name`, from the hub or from its cache on this machine.

    Args:
      name: of the repository.
      field: that names it, for messages.

    Raises:
      ConfigError: it cannot be had, or the package huggingface_hub is missing.
    """
    hub = require("huggingface_hub", f"{field}: {name} is no file or folder; to fetch it", "hub")
    try:
        return pathlib.Path(hub.hf_hub_download(name, FILE))
    except Exception as error:  # No network, no such repository, no such file, no permission.
        first, *_ = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"{field}: {name} is no file or folder, and the hub did not give {FILE} of it ({first})"
        ) from None
