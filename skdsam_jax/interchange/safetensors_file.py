"""safetensors: the arrays alone, for PyTorch or for a run that starts from them."""

import numpy as np

from skdsam_jax.interchange.description import as_metadata, describe
from skdsam_jax.interchange.names import naming_of
from skdsam_jax.interchange.packages import require
from skdsam_jax.interchange.paths import by_path
from skdsam_jax.trained import Trained


def files(trained: Trained) -> dict[str, bytes]:
    """The network at inference in float32.

    Metadata beside those of `describe`: `names`, "torchvision" or "skdsam_jax", and `layout` of the
    convolutions, "OIHW" or "HWIO".

    Raises:
      ConfigError: the package safetensors is missing.
    """
    safetensors = require("safetensors.numpy", "--format safetensors")
    naming = naming_of(trained.config["model"]["name"])
    arrays = by_path(trained.params["classifier"], trained.model_state["classifier"])
    tensors = {
        naming.translate(path): np.ascontiguousarray(naming.to_file(_single(array)))
        for path, array in arrays.items()
    }
    metadata = describe(trained) | {"names": naming.name, "layout": naming.layout}
    return {"": safetensors.save(tensors, as_metadata(metadata))}


def _single(array: np.ndarray) -> np.ndarray:
    """In float32 what trained in float64; counts and the like as they are."""
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype == np.float64 else array
