"""What is traced is a sample; it leaves nothing out altogether."""

import pathlib
import re

from config_files import CONFIGS, experiment_of
from tracing import (
    VARIANTS,
    cells_of_tables,
    sampled_cells,
    sampled_cells_of_tables,
)

from skdsam_jax.methods import METHODS


def _values(cells, key):
    return {value for cell in cells for value in re.findall(rf"\b{key}=(\w+)", cell.config)}


def test_the_sample_has_every_method_family_variant_and_kind_of_backbone():
    cells = sampled_cells()
    assert _values(cells, "method") == set(METHODS) - {"knowledge_distillation"}
    assert {pathlib.Path(cell.config.partition(":")[0]).stem for cell in cells} == set(CONFIGS)
    found = {variant for variant in VARIANTS for cell in cells if cell.name.endswith(variant)}
    assert found == set(VARIANTS)
    kinds = {re.match("[a-z]+", name)[0] for name in _values(cells, "backbone")}
    assert kinds == {"resnet", "resnext", "densenet", "wrn"}


def test_the_sample_grows_with_the_longest_list_alone():
    assert len(sampled_cells()) <= max(len(METHODS), len(CONFIGS), len(VARIANTS)) + 3


def test_every_cell_of_the_tables_is_an_experiment():
    """And of each, the sample has every backbone and method of theirs."""
    cells, sampled = cells_of_tables(), sampled_cells_of_tables()
    for cell in cells:
        experiment_of(cell)
    for key in ("backbone", "method", "recipe", "augment"):
        assert _values(sampled, key) == _values(cells, key)
