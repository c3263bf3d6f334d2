"""Settings of the network."""

import dataclasses
from typing import Any

from skdsam_jax.models.layers import CONVOLUTIONS, DEFAULT_CONVOLUTION
from skdsam_jax.models.self_attention import KINDS
from skdsam_jax.models.stems import STEMS
from skdsam_jax.options import option


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """`config.model`: what backbone, exits and convolutions are, and what a network starts from."""

    name: str = option(
        "resnet18",
        "the backbone, a name of the table in `skdsam_jax.models`, or module:Name of your own",
    )
    width: int | None = option(
        None,
        "filters of the stem, of which all other widths are multiples; None: the backbone's own, "
        "64, or 16 for wide residual networks",
        minimum=1,
    )
    stem: str = option(
        "small",
        "first layers; small: one 3x3 convolution, for 32 or 64 pixels; imagenet: 7x7 and pooling, "
        "a quarter of the size, for 224 pixels",
        choices=STEMS,
    )
    head_width_cap: int | None = option(
        None, "the most features within a shallow head; None: as the backbone asks", minimum=1
    )
    dia_reduction: int | None = option(
        None,
        "of dia_resnets: features of a stage per feature within the maps of its cell; None: 4",
        minimum=1,
    )
    san_kind: str | None = option(
        None,
        "of SANs: what weighs a pixel's neighbours, all of them at once or each by itself; None: "
        "patchwise",
        choices=tuple(KINDS),
    )
    convolution: str | None = option(
        None,
        "how 3x3 convolutions are computed on a CPU; winograd: with fewer products where that is "
        "faster, otherwise as direct; both agree up to rounding; None: as the run in the workdir "
        "began, and in a new one winograd, which is filled in",
        choices=tuple(CONVOLUTIONS),
        filled_in=True,
    )
    initial: str | None = option(
        None,
        "what the network starts from: a run's folder, a safetensors file with the names of timm "
        "and torchvision, or a repository such as timm/resnet18.a1_in1k; None: random numbers",
    )
    initial_sha256: str | None = option(
        None,
        "of `initial`; filled in when a run begins, which then keeps to it",
        filled_in=True,
    )

    @property
    def form_of_convolution(self) -> str:
        """`convolution`, or what it is where nothing was asked for."""
        return self.convolution or DEFAULT_CONVOLUTION

    def of_backbone(self) -> dict[str, Any]:
        """The arguments of `create_backbone`."""
        fields = dataclasses.asdict(self)
        for name in ("head_width_cap", "convolution", "initial", "initial_sha256"):
            del fields[name]
        return fields
