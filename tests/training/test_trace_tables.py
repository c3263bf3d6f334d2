"""The first step of cells of the thesis' tables, traced."""

import pytest
from tracing import check, sampled_cells_of_tables


@pytest.mark.slow
@pytest.mark.parametrize("cell", sampled_cells_of_tables(), ids=lambda cell: cell.name)
def test_step(cell):
    check(cell)
