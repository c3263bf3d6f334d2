"""Modules as pure functions of nested dicts of arrays.

Training, checkpoints and users hold a network's variables as plain nested dicts whose keys are
attribute names and, for lists, the index as text: `params["exits"]["heads"]["0"]...`. Flax's own
containers stay inside this file.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import jax
from flax import nnx

from skdsam_jax.models.initialization import initialize

M = TypeVar("M", bound=nnx.Module)
Tree = dict[str, Any]


class Functional(Generic[M]):
    """A module split into its structure, which is static, and its variables, which are arrays.

    Attributes:
      params: the trainable variables as a tree of `jax.ShapeDtypeStruct`.
      model_state: the other variables (BatchNorm's running averages, what a method keeps).
    """

    def __init__(self, build: Callable[[nnx.Rngs], M]) -> None:
        """Args: build: makes the module; it is only traced, so nothing is allocated."""
        self._build = build
        module = nnx.eval_shape(lambda: initialize(build, 0))
        self._graphdef, *states = nnx.split(module, nnx.Param, ...)
        self._variables = tuple(nnx.to_flat_state(state) for state in states)
        self.params, self.model_state = (_to_tree(state) for state in states)

    def init(self, seed: int | jax.Array) -> tuple[Tree, Tree]:
        """Freshly initialised (params, model_state); call it under `jax.jit`."""
        return self.split(initialize(self._build, seed))

    def split(self, module: M) -> tuple[Tree, Tree]:
        """The variables (params, model_state) of a module of this structure."""
        _, *states = nnx.split(module, nnx.Param, ...)
        params, model_state = (_to_tree(state) for state in states)
        return params, model_state

    def merge(self, params: Tree, model_state: Tree) -> M:
        """A module that holds these variables, its own copies: it may change them under a trace."""
        states = (
            _fill(variables, tree)
            for variables, tree in zip(self._variables, (params, model_state), strict=True)
        )
        return nnx.merge(self._graphdef, *states, copy=True)


def set_variables(module: nnx.Module, params: Tree, model_state: Tree) -> None:
    """Puts restored variables into `module`, in place.

    Args:
      module: for example a `Classifier`.
      params: its trainable variables, for example `state["params"]["classifier"]`.
      model_state: its running averages, for example `state["model_state"]["classifier"]`.

    Raises:
      KeyError: a variable of the module is missing; the message is its path.
      ValueError: a variable has another shape.
    """
    _, *states = nnx.split(module, nnx.Param, ...)
    for state, tree in zip(states, (params, model_state), strict=True):
        nnx.update(module, _fill(nnx.to_flat_state(state), tree))


def _to_tree(state: nnx.State) -> Tree:
    """Nested dicts with text keys."""
    tree: Tree = {}
    for path, variable in nnx.to_flat_state(state):
        *parents, last = map(str, path)
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = variable.get_value()
    return tree


def _fill(variables: Any, tree: Mapping[str, Any]) -> nnx.State:
    """A state of these variables with the tree's values."""
    filled = []
    for path, variable in variables:
        value: Any = tree
        for name in map(str, path):
            if not isinstance(value, Mapping) or name not in value:
                raise KeyError("/".join(map(str, path)))
            value = value[name]
        if value.shape != variable.get_value().shape:
            name = "/".join(map(str, path))
            raise ValueError(f"{name}: shape {value.shape}, not {variable.get_value().shape}")
        filled.append((path, variable.replace(value)))
    return nnx.from_flat_state(filled)
