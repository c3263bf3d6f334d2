"""The first step of experiments of every kind, traced."""

import pytest
from tracing import PHOTOGRAPHS, VARIANTS, check, sampled_cells, untabled_cell

from skdsam_jax.options import ConfigError


@pytest.mark.slow
@pytest.mark.parametrize("cell", sampled_cells(), ids=lambda cell: cell.name)
def test_step(cell):
    check(cell)


@pytest.mark.parametrize("family", PHOTOGRAPHS)
def test_photographs_are_too_large_for_a_wide_residual_network(family):
    with pytest.raises(ConfigError, match=r"config\.model\.stem: a wide residual network takes sm"):
        check(untabled_cell("wrn16_2", family, "skdsam", VARIANTS[0]))
