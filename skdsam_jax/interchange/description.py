"""What travels with an exported network: what its images are and what its classes are called."""

import json
from typing import Any

from skdsam_jax import __version__
from skdsam_jax.models import ModelOptions
from skdsam_jax.options import build
from skdsam_jax.trained import Trained

INPUT, OUTPUT = "images", "logits"


def describe(trained: Trained) -> dict[str, Any]:
    """Everything beside the arrays that an exported network needs, as plain values.

    Returns:
      `class_names`; `image_shape`; `mean` and `std` of pixels scaled to [0, 1]; `preparation`, how
      a picture becomes an image (`trained.preparation.Preparation`); `model`, the backbone and its
      options; `step`, `params_digest` and `version`, where the network comes from.
    """
    record = trained.record.to_dict()
    model = build(ModelOptions, trained.config["model"], "config.model").of_backbone()
    return {
        **record,
        "model": {name: value for name, value in model.items() if value is not None},
        "step": trained.step,
        "params_digest": trained.params_digest,
        "version": __version__,
    }


def as_metadata(values: dict[str, Any]) -> dict[str, str]:
    """Text for formats whose metadata is text: plain strings as they are, all else as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
