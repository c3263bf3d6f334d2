"""Modules as pure functions of nested dicts of arrays.

Training, checkpoints and users hold a network's variables as plain nested dicts whose keys are
attribute names and, for lists, the index as text: `params["exits"]["heads"]["0"]...`. Flax's own
containers stay inside this file.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models.initialization import Initializer

M = TypeVar("M", bound=nnx.Module)
Tree = dict[str, Any]

# Of variables: what random layers draw by, what is trained, and all others.
_KINDS = (nnx.RngState, nnx.Param, ...)


class Functional(Generic[M]):
    """A module split into its structure, which is static, and its variables, which are arrays.

    Attributes:
      params: the trainable variables as a tree of `jax.ShapeDtypeStruct`.
      model_state: the other variables, such as BatchNorm's running averages. What random layers
        such as `nnx.Dropout` draw by is none of them: `merge` says that.
    """

    def __init__(self, build: Callable[[nnx.Rngs], M]) -> None:
        """Args: build: makes the module; it is only traced, so nothing is allocated."""
        self._initializer = Initializer(build)
        self._graphdef, randomness, *states = nnx.split(self._initializer.abstract, *_KINDS)
        self._randomness = tuple(nnx.to_flat_state(randomness))
        self._variables = tuple(nnx.to_flat_state(state) for state in states)
        self.params, self.model_state = (_to_tree(state) for state in states)

    def init(self, seed: int | jax.Array) -> tuple[Tree, Tree]:
        """Freshly initialised (params, model_state); call it under `jax.jit`."""
        return self.split(self._initializer(seed))

    def split(self, module: M) -> tuple[Tree, Tree]:
        """The variables (params, model_state) of a module of this structure."""
        _, _, *states = nnx.split(module, *_KINDS)
        params, model_state = (_to_tree(state) for state in states)
        return params, model_state

    def merge(self, params: Tree, model_state: Tree, key: jax.Array | None = None) -> M:
        """A module that holds these variables, its own copies: it may change them under a trace.

        Args:
          params: as in the attribute.
          model_state: as in the attribute.
          key: decides what random layers draw; None: the same each time.
        """
        states = (
            _fill(variables, tree)
            for variables, tree in zip(self._variables, (params, model_state), strict=True)
        )
        return nnx.merge(self._graphdef, self._seeded(key), *states, copy=True)

    def _seeded(self, key: jax.Array | None) -> nnx.State:
        """The state of all random layers: keys made of `key`, and counts of zero."""
        if self._randomness and key is None:
            key = jax.random.key(0)
        seeded = []
        for number, (path, variable) in enumerate(self._randomness):
            shape, dtype = variable.get_value().shape, variable.get_value().dtype
            if isinstance(variable, nnx.RngKey):
                value = jax.random.split(jax.random.fold_in(key, number), shape)
            else:
                value = jnp.zeros(shape, dtype)
            seeded.append((path, variable.replace(value)))
        return nnx.from_flat_state(seeded)


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
    _, _, *states = nnx.split(module, *_KINDS)
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
