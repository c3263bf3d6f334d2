"""Arrays of a network by their paths, such as "backbone.stem.conv.kernel"."""

from collections.abc import Mapping
from typing import Any

import jax

from skdsam_jax.models.variables import Tree


def by_path(params: Tree, model_state: Tree) -> dict[str, Any]:
    """All arrays of a network, trained or not, each under its path."""
    leaves = (leaf for tree in (params, model_state) for leaf in jax.tree.leaves_with_path(tree))
    return {_name(path): array for path, array in leaves}


def replaced(tree: Tree, arrays: Mapping[str, jax.Array]) -> Tree:
    """The tree with those of its arrays that `arrays` has, by path, in the types that it has."""
    return jax.tree.map_with_path(
        lambda path, array: arrays.get(_name(path), array).astype(array.dtype), tree
    )


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
