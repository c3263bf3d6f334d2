"""The files that trace steps leave no cell of the tables out."""

import importlib
import pathlib

from tracing import cells_of_tables


def test_every_cell_of_the_tables_is_traced_somewhere():
    files = pathlib.Path(__file__).parent.glob("test_trace_*.py")
    traced = {cell for file in files for cell in importlib.import_module(file.stem).CELLS}
    assert not set(cells_of_tables(".*")) - traced
