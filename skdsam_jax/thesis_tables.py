"""The thesis' tables on CIFAR-100 and Tiny ImageNet as lists of runs.

A cell is a name and what it changes of `configs/cifar100.py`, which is SKDSAM on ResNet-18 in the
thesis' recipe. Only methods that this library has are here.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Cell:
    """One experiment of a table.

    Attributes:
      name: a folder's name, unique in its table.
      changes: field of the config to value.
    """

    name: str
    changes: tuple[tuple[str, Any], ...]


_CIFAR100: dict[str, Any] = {}
_TINY_IMAGENET = {"data.name": "tiny_imagenet"}
_CUTOUT = {"data.cutout": "mean"}
_MIXUP = {"data.mixup_alpha": 0.2}


def _method(name: str) -> dict[str, Any]:
    return {"method.name": name}


def _on_both(model: str, variants: dict[str, dict[str, Any]]) -> tuple[Cell, ...]:
    """Every variant on both data sets."""
    return tuple(
        _cell(f"{name}-{data_name}", {"model.name": model}, data, changes)
        for data_name, data in (("cifar100", _CIFAR100), ("tiny_imagenet", _TINY_IMAGENET))
        for name, changes in variants.items()
    )


def _cell(name: str, *changes: dict[str, Any]) -> Cell:
    merged: dict[str, Any] = {}
    for change in changes:
        merged |= change
    return Cell(name, tuple(merged.items()))


def _values(field: str, symbol: str, values: Iterable[float]) -> tuple[Cell, ...]:
    return tuple(_cell(f"{symbol}{value:g}", {field: float(value)}) for value in values)


def _decays(*triples: tuple[float, float, float]) -> tuple[Cell, ...]:
    """PD-BYOT's factors of cross-entropy, divergence and features."""
    return tuple(
        _cell(
            f"ce{ce:g}-kl{kl:g}-feature{feature:g}",
            _method("pd_byot"),
            {
                "method.decay_ce": float(ce),
                "method.decay_kl": float(kl),
                "method.decay_feature": float(feature),
            },
        )
        for ce, kl, feature in triples
    )


_METHODS = {
    "cross_entropy": _method("cross_entropy"),
    "byot": _method("byot"),
    "skdsam": _method("skdsam"),
}
_METHODS_AND_CUTOUT = _METHODS | {"skdsam-cutout": _method("skdsam") | _CUTOUT}
_ATTENTION = {"skdsam": {}, "without-attention": {"method.energy": "uniform"}}
_WITH_MIXUP = {
    "cross_entropy-mixup": _method("cross_entropy") | _MIXUP,
    "skdsam": {},
    "skdsam-mixup": _MIXUP,
}
_WITH_SLA = {
    "cross_entropy-sla": _method("cross_entropy_sla"),
    "skdsam": {},
    "skdsam-sla": _method("skdsam_sla"),
}

TABLES: dict[str, tuple[Cell, ...]] = {
    "4.3": _decays(*((ce, 1, 1) for ce in (1, 0.9, 0.8, 0.7, 0.5))),
    "4.4": _decays(*((1, kl, 1) for kl in (0.4, 0.5, 0.6, 0.9, 1, 1.1, 1.2, 1.3, 1.5))),
    "4.5": _decays(*((0.6, kl, 1) for kl in (0.6, 0.7, 0.8, 1, 1.1, 1.2))),
    "4.6": _decays(*((1, 1, feature) for feature in (0.5, 0.9, 1, 1.1, 1.2, 1.3, 1.5))),
    "4.7": _on_both("resnet18", _METHODS_AND_CUTOUT),
    "4.8": _on_both("wrn16_2", _METHODS_AND_CUTOUT),
    "4.9": _on_both("densenet121", _METHODS),
    "4.12": tuple(
        _cell(model, {"model.name": model}) for model in ("resnet18", "resnet34", "resnet50")
    ),
    "4.13": _on_both("resnet18", _ATTENTION),
    "4.14": _on_both("wrn16_2", _ATTENTION),
    "4.15": tuple(
        _cell(
            f"T{temperature}-attention{attention}",
            {
                "method.temperature": float(temperature),
                "method.attention_temperature": float(attention),
            },
        )
        for temperature in (1, 4)
        for attention in (1, 2, 3, 4)
    ),
    "4.16": _on_both("resnet18", _WITH_MIXUP),
    "4.17": _on_both("wrn16_2", _WITH_MIXUP),
    "4.18": _on_both("resnet18", _WITH_SLA),
    "4.19": _on_both("wrn16_2", _WITH_SLA),
    "4.20": _values("method.distillation_weight", "lambda", (0.5, 1, 1.5, 2, 3)),
    "4.21": _values("method.feature_weight", "beta", (50, 100, 200, 500)),
}
