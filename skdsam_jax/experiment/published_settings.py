"""What a method's authors set for a data set where that is not what they set for CIFAR-100.

A method's defaults are those of its authors for CIFAR-100. Settings that only a paper gives and no
public code confirms are here for FRSKD on Tiny ImageNet alone; docs/methods.md says so.
"""

from collections.abc import Mapping
from typing import Any

_TINY_IMAGENET = ("tiny_imagenet", "tiny_imagenet64")
_PHOTOGRAPHS = ("cub200", "mit67", "dogs", "stanford40")

# Method to files of `configs/` to options of the method.
_PUBLISHED: dict[str, Mapping[tuple[str, ...], Mapping[str, Any]]] = {
    "bake": {(*_TINY_IMAGENET, "dogs", "mit67"): {"omega": 0.9, "companions": 1}},
    "cs_kd": {_PHOTOGRAPHS: {"weight": 3.0}},
    "frskd": {_TINY_IMAGENET: {"distillation_weight": 3.0}},
    "zipf": {_TINY_IMAGENET: {"weight": 1.0}},
}


def published_settings(method: str, family: str) -> tuple[tuple[str, Any], ...]:
    """Fields of the config and their values, such as ("method.weight", 3.0)."""
    return tuple(
        (f"method.{option}", value)
        for families, options in _PUBLISHED.get(method, {}).items()
        if family in families
        for option, value in options.items()
    )
