"""The first step of every cell on a ResNet, traced."""

import pytest
from tracing import cell_of_family, cells_of_tables, check

from skdsam_jax.methods import METHODS

CELLS = [
    *cells_of_tables(r"resnet\d+"),
    # Small images meet every method in `test_trace_wide_resnet`.
    *(cell_of_family("resnet18", "folder", method) for method in METHODS),
    cell_of_family("resnet18", "cub200", "sla_sd"),
    cell_of_family("resnet18", "dogs", "skdsam_sla"),
    cell_of_family("resnet18", "mit67", "pd_byot"),
    cell_of_family("resnet18", "stanford40", "skdsam"),
    cell_of_family("resnet18", "tiny_imagenet64", "skdsam"),
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_step(cell):
    check(cell)
