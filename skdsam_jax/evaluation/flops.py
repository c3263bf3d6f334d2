"""FLOPs of a traced program, the same on every platform."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from jax.extend import core


def count_flops(equations: Iterable[core.JaxprEqn]) -> int:
    """Floating-point operations of convolutions and matrix products.

    A multiplication and the addition that goes with it are two. A convolution of kernel k x k from
    M to N features in G groups, with H x W pixels of output, takes

        2 k^2 (M / G) N H W

    border pixels included, and a matrix product of [m, k] and [k, n] takes 2 m k n. Nothing else is
    counted: activations, normalisation, which can be folded into the convolutions, pooling,
    interpolation, and products of single elements such as those of SAN's attention.

    Where an operation has a form for some platforms, its general form is counted. A loop of unknown
    length counts once; of alternatives the dearest counts.

    Args:
      equations: such as `jax.make_jaxpr(function)(*arguments).jaxpr.eqns`.

    Returns:
      Their number for all images of the batch.
    """
    return sum(_COUNTS.get(equation.primitive.name, _inner)(equation) for equation in equations)


def _convolution(equation: core.JaxprEqn) -> int:
    kernel = equation.invars[1].aval
    features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2 * equation.outvars[0].aval.size * kernel.size // features


def _matrix_product(equation: core.JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)


def _scan(equation: core.JaxprEqn) -> int:
    return equation.params["length"] * _inner(equation)


def _choice(equation: core.JaxprEqn) -> int:
    branches = equation.params["branches"]
    platforms = equation.params.get("branches_platforms")
    if platforms is not None and None in platforms:
        branches = [branches[platforms.index(None)]]
    return max(count_flops(branch.jaxpr.eqns) for branch in branches)


def _inner(equation: core.JaxprEqn) -> int:
    """Of the programs that an equation calls."""
    return sum(count_flops(program.eqns) for program in core.jaxprs_in_params(equation.params))


_COUNTS: dict[str, Callable[[Any], int]] = {
    "conv_general_dilated": _convolution,
    "dot_general": _matrix_product,
    "scan": _scan,
    "cond": _choice,
}
