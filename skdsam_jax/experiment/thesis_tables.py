"""The thesis' tables as lists of runs."""

from collections.abc import Iterable, Mapping
from typing import Any

from skdsam_jax.experiment.published_settings import published_settings
from skdsam_jax.experiment.tables import Cell, Table

_GENERAL = ("cifar100", "tiny_imagenet")
_METHODS = {
    name: f"method={name}"
    for name in ("cross_entropy", "ddgsd", "byot", "cs_kd", "sla_sd", "frskd", "skdsam")
}
_METHODS_AND_CUTOUT = _METHODS | {"skdsam-cutout": "method=skdsam,augment=cutout"}
_MIXUP = {
    "cross_entropy-mixup": "method=cross_entropy,augment=mixup",
    "skdsam": "method=skdsam",
    "skdsam-mixup": "method=skdsam,augment=mixup",
}
_SLA = {
    "cross_entropy-sla": "method=sla_sd",
    "skdsam": "method=skdsam",
    "skdsam-sla": "method=skdsam_sla",
}
_ATTENTION = {"skdsam": "method=skdsam", "without-attention": "method=skdsam"}
_UNIFORM = {"without-attention": {"method.energy": "uniform"}}


def _across(
    backbone: str,
    families: Iterable[str],
    variants: Mapping[str, str],
    changes: Mapping[str, Mapping[str, Any]] = {},
) -> tuple[Cell, ...]:
    """Every variant, a cell's argument by its name, in every family; some with fields changed.

    A variant that has the name of a method takes what was published for the family.
    """
    return tuple(
        Cell(
            f"{name}-{family}",
            f"configs/{family}.py:backbone={backbone},{argument}",
            (*published_settings(name, family), *changes.get(name, {}).items()),
        )
        for family in families
        for name, argument in variants.items()
    )


def _on_cifar100(name: str, argument: str, **options: float) -> Cell:
    """ResNet-18 on CIFAR-100 with some options of its method changed."""
    changes = tuple((f"method.{option}", float(value)) for option, value in options.items())
    return Cell(name, f"configs/cifar100.py:{argument}", changes)


def _decays(*triples: tuple[float, float, float]) -> tuple[Cell, ...]:
    """PD-BYOT's factors of cross-entropy, divergence and features."""
    return tuple(
        _on_cifar100(
            f"ce{ce:g}-kl{kl:g}-feature{feature:g}",
            "method=pd_byot",
            decay_ce=ce,
            decay_kl=kl,
            decay_feature=feature,
        )
        for ce, kl, feature in triples
    )


TABLES: dict[str, Table] = {
    "4.3": Table(
        "PD-BYOT, decay of cross-entropy",
        _decays(*((ce, 1, 1) for ce in (1, 0.9, 0.8, 0.7, 0.5))),
    ),
    "4.4": Table(
        "PD-BYOT, decay of divergence",
        _decays(*((1, kl, 1) for kl in (0.4, 0.5, 0.6, 0.9, 1, 1.1, 1.2, 1.3, 1.5))),
    ),
    "4.5": Table(
        "PD-BYOT, decay of both",
        _decays(*((0.6, kl, 1) for kl in (0.6, 0.7, 0.8, 1, 1.1, 1.2))),
    ),
    "4.6": Table(
        "PD-BYOT, decay of features",
        _decays(*((1, 1, feature) for feature in (0.5, 0.9, 1, 1.1, 1.2, 1.3, 1.5))),
    ),
    "4.7": Table(
        "CIFAR-100 and Tiny ImageNet, ResNet-18",
        _across("resnet18", _GENERAL, _METHODS_AND_CUTOUT),
    ),
    "4.8": Table(
        "CIFAR-100 and Tiny ImageNet, WRN-16-2",
        _across("wrn16_2", _GENERAL, _METHODS_AND_CUTOUT),
    ),
    "4.9": Table(
        "CIFAR-100 and Tiny ImageNet, DenseNet-121",
        _across("densenet121", _GENERAL, _METHODS),
    ),
    "4.10": Table(
        "birds, rooms, dogs and actions, ResNet-18",
        _across("resnet18", ("cub200", "mit67", "dogs", "stanford40"), _METHODS_AND_CUTOUT),
    ),
    "4.11": Table(
        "birds, rooms and dogs, DenseNet-121",
        _across("densenet121", ("cub200", "mit67", "dogs"), _METHODS),
    ),
    "4.12": Table(
        "attention networks, and SKDSAM on ResNet-18, 34 and 50",
        tuple(
            _on_cifar100(name, f"backbone={name},method={method}")
            for method, names in (
                ("cross_entropy", ("dia_resnet18", "dia_resnet34", "dia_resnet50")),
                ("cross_entropy", ("san10", "san15", "san19")),
                ("skdsam", ("resnet18", "resnet34", "resnet50")),
            )
            for name in names
        ),
    ),
    "4.13": Table(
        "without attention, ResNet-18", _across("resnet18", _GENERAL, _ATTENTION, _UNIFORM)
    ),
    "4.14": Table(
        "without attention, WRN-16-2", _across("wrn16_2", _GENERAL, _ATTENTION, _UNIFORM)
    ),
    "4.15": Table(
        "the two temperatures",
        tuple(
            _on_cifar100(
                f"T{temperature}-attention{attention}",
                "method=skdsam",
                temperature=temperature,
                attention_temperature=attention,
            )
            for temperature in (1, 4)
            for attention in (1, 2, 3, 4)
        ),
    ),
    "4.16": Table("Mixup, ResNet-18", _across("resnet18", _GENERAL, _MIXUP)),
    "4.17": Table("Mixup, WRN-16-2", _across("wrn16_2", _GENERAL, _MIXUP)),
    "4.18": Table("SLA, ResNet-18", _across("resnet18", _GENERAL, _SLA)),
    "4.19": Table("SLA, WRN-16-2", _across("wrn16_2", _GENERAL, _SLA)),
    "4.20": Table(
        "lambda",
        tuple(
            _on_cifar100(f"lambda{value:g}", "method=skdsam", distillation_weight=value)
            for value in (0.5, 1, 1.5, 2, 3)
        ),
    ),
    "4.21": Table(
        "beta",
        tuple(
            _on_cifar100(f"beta{value:g}", "method=skdsam", feature_weight=value)
            for value in (50, 100, 200, 500)
        ),
    ),
}
