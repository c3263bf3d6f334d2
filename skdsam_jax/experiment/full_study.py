"""The comparison at full size, for a GPU: what answers most comes first.

The thesis' settings, computed in bfloat16. A sweep makes all runs with one seed before those with
the next, in this order, so that it may be stopped at any time.
"""

from typing import Any

from skdsam_jax.experiment.tables import Cell, Table


def _cell(
    name: str,
    method: str,
    *,
    family: str = "cifar100",
    backbone: str = "resnet18",
    also: str = "",
    **options: Any,
) -> Cell:
    """A row; `also` is what else stands behind the colon."""
    changes = {"training.compute_dtype": "bfloat16"}
    changes |= {f"method.{option}": value for option, value in options.items()}
    cell = f"configs/{family}.py:backbone={backbone},method={method}{also}"
    return Cell(name, cell, tuple(changes.items()))


_COMPARED = ("cross_entropy", "byot", "skdsam")

FULL_STUDY = Table(
    "the thesis' comparison in full, in order of value, for a GPU",
    (
        _cell("cross_entropy", "cross_entropy"),
        _cell("skdsam", "skdsam"),
        _cell("byot", "byot"),
        _cell("pd_byot", "pd_byot"),
        _cell("skdsam-dot", "skdsam", energy="dot"),
        *(_cell(f"{method}-lab", method, also=",recipe=lab") for method in _COMPARED),
        *(
            _cell(f"{method}-{addition}", method, also=f",augment={addition}")
            for addition in ("cutout", "mixup")
            for method in ("skdsam", "cross_entropy")
        ),
        _cell("skdsam_sla", "skdsam_sla"),
        _cell("sla_sd", "sla_sd"),
        *(
            _cell(
                f"skdsam-dot-attention{value}", "skdsam", energy="dot", attention_temperature=value
            )
            for value in (1.0, 2.0)
        ),
        _cell("skdsam-T1", "skdsam", temperature=1.0),
        *(
            _cell(f"skdsam-lambda{value:g}", "skdsam", distillation_weight=value)
            for value in (0.5, 1.0, 2.0, 3.0)
        ),
        *(
            _cell(f"skdsam-beta{value:g}", "skdsam", feature_weight=value)
            for value in (50.0, 200.0, 500.0)
        ),
        *(
            _cell(f"{method}-{backbone}", method, backbone=backbone)
            for backbone in ("wrn16_2", "densenet121")
            for method in _COMPARED
        ),
        *(_cell(f"{method}-tiny_imagenet", method, family="tiny_imagenet") for method in _COMPARED),
    ),
)
