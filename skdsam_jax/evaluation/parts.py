"""A function with several results, cut into the parts between them.

JAX traces the exits of a network to one list of equations. An exit needs some of them, and the next
exit needs more: that difference is the part between the two, and what it reads of the earlier
equations is what must be carried along. Nothing is asked of methods or backbones for that.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
from jax.extend import core

from skdsam_jax.evaluation.flops import count_flops

Variables = Any
Carried = tuple[jax.Array, ...]


class Parts:
    """The traced program of several results, and the parts between them.

    Where what is carried has no leading axis of images, as in a network that moves that axis, every
    part begins with the images again.

    Attributes:
      count: the number of results.
      continues: whether a part begins where the one before it ended.
    """

    def __init__(
        self,
        function: Callable[[Variables, jax.Array], Sequence[jax.Array]],
        variables: Variables,
        images: jax.ShapeDtypeStruct,
    ) -> None:
        """Traces the function; nothing is computed.

        Args:
          function: variables and images [batch, ...] -> the results, arrays [batch, ...], in the
            order in which they are wanted.
          variables: a pytree of arrays; their shapes and types matter.
          images: shape and type.
        """
        self._trace = _Trace(function, variables, images)
        self.count = len(self._trace.outputs)
        frontiers = [self._frontier(result) for result in range(self.count)]
        longer = jax.ShapeDtypeStruct((images.shape[0] + 1, *images.shape[1:]), images.dtype)
        self.continues = _carry_images(frontiers, self._trace, _Trace(function, variables, longer))
        self._carried = frontiers if self.continues else [[self._trace.images]] * self.count

    def alone(self, result: int) -> Callable[[Variables, jax.Array], jax.Array]:
        """Variables and images -> one of the results, by no more than it needs."""
        trace = self._trace
        run = trace.function([trace.images], [trace.outputs[result]])
        return lambda variables, images: run(variables, (images,))[0]

    def part(self, result: int) -> Callable[[Variables, Carried], tuple[jax.Array, Carried]]:
        """Variables and what the part before carried -> a result, and what the next part reads.

        The first part reads a tuple of the images alone. Arrays that are carried have a leading
        axis of images, so images that need no further result can be left out there.
        """
        trace = self._trace
        following = self._carried[result + 1] if result + 1 < self.count else []
        run = trace.function(self._carried[result], [trace.outputs[result], *following])

        def compute(variables: Variables, carried: Carried) -> tuple[jax.Array, Carried]:
            value, *further = run(variables, carried)
            return value, tuple(further)

        return compute

    def flops_alone(self, result: int) -> int:
        """FLOPs per image of `alone`; see `flops.count_flops`."""
        return self._flops(self._trace.needed(result))

    def flops_through(self, result: int) -> int:
        """FLOPs per image of all parts up to that of `result`."""
        if not self.continues:
            return sum(map(self.flops_alone, range(result + 1)))
        return self._flops(self._done(result + 1))

    def variables_read(self, result: int) -> list[bool]:
        """Of each leaf of the variables, whether `alone` reads it."""
        trace = self._trace
        read = {
            variable
            for index in trace.needed(result)
            for variable in _variables(trace.equations[index].invars)
        }
        return [variable in read for variable in trace.leaves]

    def _done(self, result: int) -> set[int]:
        """The equations that the results before `result` need."""
        return set().union(*(self._trace.needed(before) for before in range(result)))

    def _frontier(self, result: int) -> list[core.Var]:
        """What depends on the images, is known before `result`, and is read by what follows."""
        trace = self._trace
        done = self._done(result)
        known = {trace.images} | {
            variable for index in done for variable in trace.equations[index].outvars
        }
        to_come = self._done(self.count) - done
        read = set(trace.outputs[result:]) | {
            variable for index in to_come for variable in _variables(trace.equations[index].invars)
        }
        return [variable for variable in trace.of_images if variable in known & read]

    def _flops(self, equations: Iterable[int]) -> int:
        trace = self._trace
        of_images = set(trace.of_images)
        total = sum(
            count_flops([trace.equations[index]])
            for index in equations
            # What is made of the variables alone is made once for all images.
            if of_images.intersection(trace.equations[index].outvars)
        )
        return total // trace.images.aval.shape[0]


class _Trace:
    """Equations, and what they read and write.

    Attributes:
      equations: in order.
      leaves: variables of the program that stand for leaves of the pytree `variables`.
      images: that which stands for the images.
      outputs: those which stand for the results.
      of_images: whatever depends on the images, themselves included, in order.
    """

    def __init__(
        self,
        function: Callable[[Variables, jax.Array], Sequence[jax.Array]],
        variables: Variables,
        images: jax.ShapeDtypeStruct,
    ) -> None:
        closed = jax.make_jaxpr(lambda *arguments: tuple(function(*arguments)))(variables, images)
        program = closed.jaxpr
        self._constants = dict(zip(program.constvars, closed.consts, strict=True))
        self.equations = program.eqns
        *self.leaves, self.images = program.invars
        self.outputs = program.outvars
        self.of_images = [self.images]
        depends = {self.images}
        for equation in self.equations:
            if depends.intersection(_variables(equation.invars)):
                depends.update(equation.outvars)
                self.of_images += equation.outvars
        self._writer = {
            variable: index
            for index, equation in enumerate(self.equations)
            for variable in equation.outvars
        }

    @functools.cache  # noqa: B019 - a trace lives as long as what it was made for
    def needed(self, result: int) -> frozenset[int]:
        """The equations of one of the outputs."""
        return frozenset(self._slice([self.outputs[result]], {self.images}))

    def place(self, variable: core.Var) -> tuple[int, int]:
        """Where a variable is written, which is the same for every number of images."""
        if variable is self.images:
            return -1, 0
        index = self._writer[variable]
        return index, self.equations[index].outvars.index(variable)

    def at(self, place: tuple[int, int]) -> core.Var:
        """The variable that is written there."""
        index, number = place
        return self.images if index < 0 else self.equations[index].outvars[number]

    def function(
        self, begin: Sequence[core.Var], end: Sequence[core.Var]
    ) -> Callable[[Variables, Carried], list[jax.Array]]:
        """Variables and the values of `begin` -> the values of `end`."""
        equations = [self.equations[index] for index in sorted(self._slice(end, set(begin)))]
        known = [*self._constants, *self.leaves, *begin]

        def run(variables: Variables, carried: Carried) -> list[jax.Array]:
            given = [*self._constants.values(), *jax.tree.leaves(variables), *carried]
            values = dict(zip(known, given, strict=True))
            for equation in equations:
                values |= _evaluate(equation, values)
            return [values[variable] for variable in end]

        return run

    def _slice(self, targets: Iterable[core.Var], known: Collection[core.Var]) -> set[int]:
        """The equations that make `targets`, where `known` is there."""
        found: set[int] = set()
        wanted = list(_variables(targets))
        while wanted:
            variable = wanted.pop()
            index = self._writer.get(variable)
            if variable not in known and index is not None and index not in found:
                found.add(index)
                wanted += _variables(self.equations[index].invars)
        return found


def _evaluate(equation: core.JaxprEqn, values: Mapping[core.Var, Any]) -> dict[core.Var, Any]:
    """What an equation writes, as JAX's own interpreter of such programs computes it."""
    primitive = equation.primitive
    read = [
        atom.val if isinstance(atom, core.Literal) else values[atom] for atom in equation.invars
    ]
    with equation.ctx.manager:
        written = primitive.bind(*read, **primitive.get_bind_params(equation.params))
    results = written if primitive.multiple_results else [written]
    return dict(zip(equation.outvars, results, strict=True))


def _variables(atoms: Iterable[Any]) -> Iterable[core.Var]:
    """Without literals, which are written nowhere."""
    return (atom for atom in atoms if not isinstance(atom, core.Literal))


def _carry_images(frontiers: Sequence[Sequence[core.Var]], trace: _Trace, longer: _Trace) -> bool:
    """Whether all that is carried has a leading axis of images, and no other one."""
    if len(trace.equations) != len(longer.equations):
        return False
    for variable in {variable for frontier in frontiers for variable in frontier}:
        shape = variable.aval.shape
        other = longer.at(trace.place(variable)).aval.shape
        batch = trace.images.aval.shape[0]
        if shape[:1] != (batch,) or other != (batch + 1, *shape[1:]):
            return False
    return True
