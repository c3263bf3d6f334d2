"""StableHLO: the whole network as a program that JAX runs without this library."""

import json

import jax
import jax.numpy as jnp
from jax import export

from skdsam_jax.data.augmentation.augment import normalize
from skdsam_jax.interchange.description import INPUT, OUTPUT, describe
from skdsam_jax.trained import Trained

PLATFORMS = ("cpu", "cuda", "tpu")


def files(trained: Trained) -> dict[str, bytes]:
    """The program, and what `describe` gives as a file beside it, FILE.json.

    The program's file has no room for more: it is what `jax.export.deserialize` takes.
    """
    exported = lower(trained)
    pixels = ", ".join(map(str, trained.image_shape))
    description = describe(trained) | {
        "input": f"{INPUT}: uint8 [batch, {pixels}], a prepared picture's pixels as they are",
        "output": f"{OUTPUT}: {exported.out_avals[0].dtype} [batch, {len(trained.class_names)}]",
        "platforms": list(exported.platforms),
    }
    return {
        "": bytes(exported.serialize()),
        ".json": f"{json.dumps(description, indent=2)}\n".encode(),
    }


def lower(trained: Trained) -> export.Exported:
    """The program images -> logits, for every platform of `PLATFORMS` whatever machine this is.

    Its `call` takes uint8 [batch, height, width, 3] of any batch size, and gives what
    `Trained.logits` gives. Weights and normalisation are part of it.
    """
    params, model_state = trained.params["classifier"], trained.model_state["classifier"]

    @jax.jit
    def logits(images: jax.Array) -> jax.Array:
        classifier = trained.network.merge(params, model_state)
        return classifier(normalize(images, trained.mean, trained.std, trained.dtype))

    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *trained.image_shape), jnp.uint8)
    return export.export(logits, platforms=PLATFORMS)(images)
