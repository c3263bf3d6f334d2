"""Settings of the network."""

import dataclasses

from skdsam_jax.options import option


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """`config.model`."""

    name: str = option("resnet18", "the backbone, a name of the table in `skdsam_jax.models`")
    width: int = option(64, "channels of the first stage; the others are multiples", minimum=1)
