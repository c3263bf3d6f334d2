"""The first step of every cell on a DenseNet, traced."""

import pytest
from tracing import cell_of_family, cells_of_tables, check

CELLS = [
    *cells_of_tables(r"densenet\d+"),
    # Methods that the tables leave out.
    cell_of_family("densenet121", "tiny_imagenet64", "pd_byot"),
    cell_of_family("densenet121", "stanford40", "sla_sd"),
    cell_of_family("densenet121", "folder", "skdsam_sla"),
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_step(cell):
    check(cell)
