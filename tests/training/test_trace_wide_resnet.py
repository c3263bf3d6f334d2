"""The first step of every cell on a wide residual network, traced."""

import pytest
from tracing import PHOTOGRAPHS, SMALL, cell_of_family, cells_of_tables, check

from skdsam_jax.methods import METHODS
from skdsam_jax.options import ConfigError

CELLS = [
    *cells_of_tables("wrn.*"),
    *(cell_of_family("wrn16_2", family, method) for family in SMALL for method in METHODS),
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_step(cell):
    check(cell)


@pytest.mark.parametrize("family", PHOTOGRAPHS)
def test_photographs_are_too_large_for_it(family):
    with pytest.raises(ConfigError, match=r"config\.model\.stem: a wide residual network takes sm"):
        check(cell_of_family("wrn16_2", family, "skdsam"))
