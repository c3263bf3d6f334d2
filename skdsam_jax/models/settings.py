"""What every module of a network takes besides its shape."""

from typing import Required, TypedDict

from flax import nnx
from jax.typing import DTypeLike


class Settings(TypedDict, total=False):
    """The keywords `**settings` of every module and of what builds one.

    What needs precision is computed in at least float32 whatever `dtype` is: batch normalisation,
    pooling, and all that follows the pooling.

    Attributes:
      dtype: what it computes in, float32 if not given.
      param_dtype: what its parameters are kept in, float32 if not given.
      rngs: the `params` stream of it initialises the parameters.
    """

    dtype: DTypeLike
    param_dtype: DTypeLike
    rngs: Required[nnx.Rngs]
