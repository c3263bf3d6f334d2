"""A comparison that two cores of a CPU can afford, as tables.

10,000 of CIFAR-100's training images (100 of each class) and 2,000 others for validation, the whole
test set, a ResNet-18 of width 16, and the thesis' recipe in 20 epochs, whose decays are shares of
them; the baseline in fewer, for methods that read more images in each; and one real network,
WRN-16-2, on all images but those 2,000 in 15. What it finds holds for schedules of this length, and
no further.

Rows of one name are the same experiment in all of these tables, so that one folder of results
serves them all.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from skdsam_jax.experiment.tables import Cell, Table
from skdsam_jax.methods import METHODS

_BASELINE = "cross_entropy"

# Choices are made on the validation split. The form of convolution is named: another default must
# not end up beside this one.
_SIZE: Mapping[str, Any] = {
    "model.width": 16,  # A quarter of ResNet-18's own, and that of WRN-16-2.
    "model.convolution": "direct",
    "data.validation_fraction": 0.04,
    "data.train_examples": 10_000,
    "training.epochs": 20,
    "evaluation.every_epochs": 4,
}

# Of a network at its full width, on all images. Winograd's convolutions are the faster ones here.
_REAL_SIZE: Mapping[str, Any] = {
    "model.convolution": "winograd",
    "data.validation_fraction": 0.04,
    "training.epochs": 15,
    "evaluation.every_epochs": 3,
}

# Options of SKDSAM that differ from its own, by the row's name.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "lambda0.5": {"distillation_weight": 0.5},
    "lambda1": {"distillation_weight": 1.0},
    "warm-up": {"warm_up": 0.5},
    "labels": {"label_weight": 1.0},
    "labels-lambda0.5": {"label_weight": 1.0, "distillation_weight": 0.5},
    "labels-warm-up": {"label_weight": 1.0, "warm_up": 0.5},
    "labels-lambda0.5-warm-up": {
        "label_weight": 1.0,
        "distillation_weight": 0.5,
        "warm_up": 0.5,
    },
    "scaled-dot": {"energy": "scaled_dot"},
    "gradient-full": {"attention_gradient": "full", "energy": "dot"},
    "gradient-none": {"attention_gradient": "none", "energy": "dot"},
    "no-links": {"attention_links": False},
    "no-features": {"feature_weight": 0.0},
    "labels-warm-up-no-features": {"label_weight": 1.0, "warm_up": 0.5, "feature_weight": 0.0},
}


def _cell(
    name: str, method: str, *, also: str = "", epochs: int | None = None, **options: Any
) -> Cell:
    """A row; `also` is what else stands behind the colon, `epochs` fewer than the others have."""
    # Authors' settings for CIFAR-100 are the methods' defaults.
    changes = {**_SIZE, **{f"method.{option}": value for option, value in options.items()}}
    if epochs is not None:
        changes["training.epochs"] = epochs
    return Cell(
        name,
        f"configs/cifar100.py:backbone=resnet18,method={method}{also}",
        tuple(changes.items()),
        teacher=_BASELINE if method == "knowledge_distillation" else None,
        # As in the table of all methods.
        whole_batch=method == "bake",
    )


def _all(methods: Iterable[str]) -> tuple[Cell, ...]:
    return tuple(_cell(method, method) for method in methods)


_UNIFORM = _cell("skdsam-uniform", "skdsam", energy="uniform")
_DOT = _cell("skdsam-dot", "skdsam", energy="dot")

SMALL_TABLES: dict[str, Table] = {
    "small": Table(
        "a small study: baselines, BYOT, and SKDSAM with and without attention",
        (*_all((_BASELINE, "label_smoothing", "byot")), _UNIFORM, _DOT),
    ),
    "small-peers": Table(
        "a small study: all methods",
        _all(sorted(METHODS, key=lambda name: name != _BASELINE)),
    ),
    "small-options": Table(
        "a small study: options of SKDSAM",
        (
            *_all((_BASELINE, "skdsam")),
            *(_cell(f"skdsam-{name}", "skdsam", **options) for name, options in _OPTIONS.items()),
        ),
    ),
    "small-claims": Table(
        "a small study: what else the thesis claims",
        (
            *_all(("skdsam", "pd_byot", "byot", "skdsam_sla")),
            *(
                _cell(f"skdsam-{addition}", "skdsam", also=f",augment={addition}")
                for addition in ("cutout", "mixup")
            ),
            _cell("skdsam-T1", "skdsam", temperature=1.0),
            _DOT,
            _cell("skdsam-dot-attention1", "skdsam", energy="dot", attention_temperature=1.0),
        ),
    ),
    "small-epochs": Table(
        "a small study: the baseline in as few epochs as methods have with --equal_images",
        tuple(
            _cell(f"{_BASELINE}-{epochs}_epochs", _BASELINE, epochs=epochs) for epochs in (10, 5)
        ),
    ),
    "small-wrn": Table(
        "a small study: WRN-16-2 at its full width, on 48,000 images",
        tuple(
            Cell(
                f"{method}-wrn16_2",
                f"configs/cifar100.py:backbone=wrn16_2,method={method}",
                tuple(_REAL_SIZE.items()),
            )
            for method in (_BASELINE, "byot", "skdsam", "skdsam_plus")
        ),
    ),
}
