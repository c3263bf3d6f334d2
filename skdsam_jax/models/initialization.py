"""How parameters start, and how to start all those of a network quickly.

XLA takes 30 to 100 ms to compile each random draw, and a network with its heads has a hundred.
`Initializer` draws once and cuts every layer's numbers out of that. Layers of Flax itself, which a
network of the user's own may have, are given keys as anywhere else.
"""

import math
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

M = TypeVar("M", bound=nnx.Module)
Sampler = Callable[..., jax.Array]
# How numbers are drawn, and of which type.
_Kind = tuple[Sampler, jnp.dtype]

# Folded into the key of a network, it gives the key of Flax's own layers; draws fold in 0, 1, ...
_FLAX = 2**31


def convolution_kernel(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Normal weights of deviation sqrt(2 / (out_features kernel_size^2)), not truncated.

    He et al., https://arxiv.org/abs/1502.01852, in its fan-out form; depthwise kernels too.

    Args:
      key: a random key, or what `Initializer` passes for one.
      shape: (kernel_size, kernel_size, in_features of a group, out_features).
      dtype: the type of the weights.

    Returns:
      The weights, in `shape`.
    """
    deviation = math.sqrt(2 / (shape[0] * shape[1] * shape[3]))
    return deviation * _sample(jax.random.normal, key, shape, dtype)


def dense_uniform(in_features: int) -> nnx.initializers.Initializer:
    """An initialiser of weights and biases, uniform within +-1/sqrt(in_features)."""
    limit = 1 / math.sqrt(in_features)

    def uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        return limit * (2 * _sample(jax.random.uniform, key, shape, dtype) - 1)

    return uniform


def fan_in_uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """A kernel uniform within +-1/sqrt(fan_in), as PyTorch starts convolutions.

    fan_in is what one output sums over, all axes of `shape` but the last. The arguments are those
    of `convolution_kernel`.
    """
    return dense_uniform(math.prod(shape[:-1]))(key, shape, dtype)


class Initializer(Generic[M]):
    """Builds a network whose layers share one random draw of each kind.

    The numbers depend on the seed, the network and JAX's generator, not on devices or sharding.
    They are not those that `build(nnx.Rngs(seed))` gives, but they are distributed alike.

    Attributes:
      abstract: the network without its arrays.
    """

    def __init__(self, build: Callable[[nnx.Rngs], M]) -> None:
        """Counts what there is to draw.

        Args:
          build: makes the network, here and in each call, with an `nnx.Rngs` of one stream.
        """
        self._build = build
        draw = _SharedDraw()
        self.abstract = nnx.eval_shape(lambda: build(_SharingRngs(draw, jax.random.key(0))))
        self._counts = draw.used

    def __call__(self, seed: int | jax.Array) -> M:
        """The network of a seed, any integer; call it under `jax.jit`."""
        key = jax.random.key(seed)
        draw = _SharedDraw()
        draw.fill(key, self._counts)
        network = self._build(_SharingRngs(draw, jax.random.fold_in(key, _FLAX)))
        draw.clear()
        return network


def initialize(build: Callable[[nnx.Rngs], M], seed: int | jax.Array) -> M:
    """Builds one network; see `Initializer`."""
    return Initializer(build)(seed)


def shared(rngs: nnx.Rngs) -> nnx.Rngs:
    """What a layer of this library initialises itself by: the shared draw, if there is one."""
    return rngs.shared_draw if isinstance(rngs, _SharingRngs) else rngs


class _SharedDraw:
    """Stands in for `nnx.Rngs`, and for the keys it gives: counts numbers, then hands them out."""

    def __init__(self) -> None:
        self.used: dict[_Kind, int] = {}
        self._numbers: dict[_Kind, jax.Array] | None = None

    def params(self) -> "_SharedDraw":
        return self

    def fill(self, key: jax.Array, counts: Mapping[_Kind, int]) -> None:
        """Draws as many numbers of each kind."""
        self._numbers = {
            # Without the barrier XLA would repeat the whole draw in each slice of it.
            kind: jax.lax.optimization_barrier(
                kind[0](jax.random.fold_in(key, i), (count,), kind[1])
            )
            for i, (kind, count) in enumerate(counts.items())
        }

    def clear(self) -> None:
        """Lets go of the numbers, which are those of a trace: a module may keep its `rngs`."""
        self._numbers = None

    def take(self, sampler: Sampler, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        kind = (sampler, jnp.dtype(dtype))
        start = self.used.get(kind, 0)
        self.used[kind] = stop = start + math.prod(shape)
        if self._numbers is None:
            return jnp.zeros(shape, dtype)
        return jax.lax.slice(self._numbers[kind], (start,), (stop,)).reshape(shape)


class _SharingRngs(nnx.Rngs):
    """Gives keys to whoever asks; layers of this library take from the draw that it carries."""

    def __init__(self, draw: _SharedDraw, key: jax.Array) -> None:
        super().__init__(key)
        self.shared_draw = draw


def _sample(
    sampler: Sampler, key: jax.Array | _SharedDraw, shape: tuple[int, ...], dtype: DTypeLike
) -> jax.Array:
    if isinstance(key, _SharedDraw):
        return key.take(sampler, shape, dtype)
    # Drawn flat: the same numbers, and XLA compiles it in half the time.
    return sampler(key, (math.prod(shape),), dtype).reshape(shape)
