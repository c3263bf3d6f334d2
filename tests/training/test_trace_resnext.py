"""The first step of cells on ResNeXts, which the thesis leaves to future work, traced."""

import itertools

import pytest
from tracing import PHOTOGRAPHS, SMALL, cell_of_family, cells_of_tables, check

from skdsam_jax.methods import METHODS
from skdsam_jax.thesis_tables import TABLES

CELLS = [
    cell_of_family(backbone, family, method)
    for backbone, families in (("resnext29_8x64d", SMALL), ("resnext50_32x4d", PHOTOGRAPHS))
    for family, method in zip(families, itertools.cycle(METHODS), strict=False)
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_step(cell):
    check(cell)


def test_every_cell_of_the_tables_is_traced_somewhere():
    kinds = (r"resnet\d+", "wrn.*", r"densenet\d+")
    total = sum(len(table.cells) for table in TABLES.values())
    assert sum(len(cells_of_tables(kind)) for kind in kinds) == total
