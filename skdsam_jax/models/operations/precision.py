"""The types that numbers are kept and computed in."""

import jax.numpy as jnp
from jax.typing import DTypeLike


def at_least_float32(dtype: DTypeLike) -> jnp.dtype:
    """The floating-point type `dtype`, or float32 where that is wider."""
    return jnp.dtype(dtype if jnp.finfo(dtype).bits > 32 else jnp.float32)
