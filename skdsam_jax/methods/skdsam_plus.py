"""SKDSAM whose exits have labels of their own, and whose distillation grows."""

import dataclasses
from typing import ClassVar

from skdsam_jax.methods.base import named
from skdsam_jax.methods.skdsam import Skdsam, SkdsamOptions
from skdsam_jax.options import other_default


@dataclasses.dataclass(frozen=True)
class SkdsamPlusOptions(SkdsamOptions):
    """SKDSAM's settings with other defaults, chosen on a validation split of CIFAR-100."""

    name: str = named("skdsam_plus")
    label_weight: float | None = other_default(
        SkdsamOptions, "label_weight", 1.0, "mu, weight of the labels in every shallow exit"
    )
    warm_up: float | None = other_default(
        SkdsamOptions,
        "warm_up",
        0.5,
        "share of the run over which lambda grows from 0 to its value",
    )


class SkdsamPlus(Skdsam):
    """SKDSAM for short schedules; no part of the thesis.

    Every shallow exit learns from the labels too, and lambda grows linearly over the first half of
    a run: the equation is that of `losses.skdsam_loss` with these two settings. What it is worth in
    20 epochs stands in `results/small/NOTE.md`.
    """

    Options: ClassVar = SkdsamPlusOptions
