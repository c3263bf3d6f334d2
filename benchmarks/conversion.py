"""This library's variables under PyTorch's names and in its layouts.

The modules of `pytorch_network` and `pytorch_wide_resnet` carry this library's attribute names, so
that a path such as `classifier/backbone/stem/conv/kernel` needs another last word and no table.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

_LAST_WORDS = {"kernel": "weight", "scale": "weight", "bias": "bias"}
# A dense kernel in, out; a convolution's height, width, in, out.
_AXES = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}


def to_pytorch(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a nested dict of parameters, or of their gradients.

    Args:
      tree: as `TrainState.params` holds them.

    Returns:
      PyTorch's parameter name to an array in PyTorch's layout.
    """
    arrays = {}
    for path, array in _flatten(tree):
        *parents, last = path
        array = np.asarray(array)
        arrays[".".join((*parents, _LAST_WORDS[last]))] = array.transpose(_AXES[array.ndim])
    return arrays


def _flatten(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], Any]]:
    leaves = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves += _flatten(value, (*path, name))
        else:
            leaves.append(((*path, name), value))
    return leaves
