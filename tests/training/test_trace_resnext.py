"""The first step of cells on ResNeXts, which the thesis leaves to future work, traced."""

import itertools

import pytest
from tracing import PHOTOGRAPHS, SMALL, cell_of_family, check

from skdsam_jax.methods import METHODS

CELLS = [
    cell_of_family(backbone, family, method)
    for backbone, families in (("resnext29_8x64d", SMALL), ("resnext50_32x4d", PHOTOGRAPHS))
    for family, method in zip(families, itertools.cycle(METHODS), strict=False)
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_step(cell):
    check(cell)
