"""Self-attention over a footprint of pixels, pairwise and patchwise, and the block made of it.

Zhao et al., Exploring self-attention for image recognition, CVPR 2020,
https://arxiv.org/abs/2004.13621.

Offset t = k i + j of a footprint of k x k pixels looks i - k // 2 rows below and j - k // 2 columns
to the right of a pixel; S_t(x) is the map x so shifted, mirrored at its border.
"""

from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from skdsam_jax.models.initialization import dense_uniform, shared
from skdsam_jax.models.layers import BatchNorm, Dense
from skdsam_jax.models.operations import at_least_float32, relu
from skdsam_jax.models.settings import Settings


def mirrored(images: jax.Array, size: int) -> jax.Array:
    """Images [batch, height, width, features] with size // 2 more pixels on each side.

    The border pixels themselves are not repeated.

    Raises:
      ValueError: height or width is not above size // 2.
    """
    border = size // 2
    if min(images.shape[1:3]) <= border:
        shape = "x".join(map(str, images.shape[1:3]))
        raise ValueError(f"images: takes more than {border} pixels a side, not {shape}")
    return jnp.pad(images, ((0, 0), (border, border), (border, border), (0, 0)), mode="reflect")


def shifted(images: jax.Array, size: int) -> jax.Array:
    """S_t(images) for every offset t, [size^2, batch, height, width, features].

    Rows first, then columns: 2 size slices in the place of size^2.
    """
    height, width = images.shape[1:3]
    padded = mirrored(images, size)
    rows = jnp.stack([padded[:, i : i + height] for i in range(size)])
    both = jnp.stack([rows[..., j : j + width, :] for j in range(size)], 1)
    return both.reshape(size**2, *images.shape)


def aggregate(weights: jax.Array, values: jax.Array) -> jax.Array:
    """The weighted sum of each pixel's neighbours, in at least float32.

        y[b, r, c, f] = sum_t weights[t, b, r, c, f mod G] S_t(values)[b, r, c, f]

    A loop over the rows of the footprint, each of which is size multiply-adds that XLA fuses. It
    keeps no shifted map for the gradient.

    Args:
      weights: [size^2, batch, height, width, G].
      values: [batch, height, width, features], features a multiple of G.

    Returns:
      [batch, height, width, features].
    """
    offsets, batch, height, width, groups = weights.shape
    size = round(offsets**0.5)
    precise = at_least_float32(values.dtype)
    padded = mirrored(values.astype(precise), size)
    padded = padded.reshape(*padded.shape[:3], -1, groups)
    weights = weights.astype(precise).reshape(size, size, batch, height, width, 1, groups)

    @jax.checkpoint
    def add_row(total: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        index, row_weights = row
        band = lax.dynamic_slice_in_dim(padded, index, height, axis=1)
        for column in range(size):
            total += row_weights[column] * band[:, :, column : column + width]
        return total, None

    total = jnp.zeros((batch, height, width, *padded.shape[3:]), precise)
    total, _ = lax.scan(add_row, total, (jnp.arange(size), weights))
    return total.reshape(values.shape)


class Pointwise(nnx.Linear):
    """A 1x1 convolution, which is an affine map of the last axis computed in `dtype`.

    Weights and biases start uniform between -1 and 1 over sqrt(fan_in), `in_features` if not given;
    one of several maps whose sum is one convolution is given what all of them read.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        fan_in: int | None = None,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        uniform = dense_uniform(fan_in or in_features)
        super().__init__(
            in_features,
            out_features,
            use_bias=use_bias,
            kernel_init=uniform,
            bias_init=uniform,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=shared(rngs),
        )


class PairwiseWeights(nnx.Module):
    """Weights that compare a pixel with each neighbour by itself, and with its position.

        d_t = concat(q - S_t(k), P - S_t(P)),   P = place(column, row), both from -1 to 1
        w = softmax over t of weigh(relu(norm(reduce(relu(norm(d))))))

    Normalisation is over batch, pixels and offsets. Positions are alike for all images, so they are
    normalised and reduced once, by layers of their own; the sum of both reductions is that of d_t.
    """

    def __init__(self, features: int, groups: int, size: int, **settings: Unpack[Settings]) -> None:
        """Creates the weights of `groups` groups from queries and keys of `features`."""
        fan_in = features + 2
        self.size = size
        self.place = Dense(2, 2, **settings)
        self.relation_norm = BatchNorm(features, **settings)
        self.position_norm = BatchNorm(2, **settings)
        self.reduce_relation = Pointwise(
            features, features, use_bias=False, fan_in=fan_in, **settings
        )
        self.reduce_position = Pointwise(2, features, use_bias=False, fan_in=fan_in, **settings)
        self.norm = BatchNorm(features, **settings)
        self.weigh = Pointwise(features, groups, **settings)

    def __call__(self, query: jax.Array, key: jax.Array, *, train: bool) -> jax.Array:
        """Weights [size^2, batch, height, width, groups], of which those of a pixel add up to 1."""
        relation = query[None] - shifted(key, self.size)
        place = self.place(_coordinates(*query.shape[1:3], at_least_float32(query.dtype)))
        position = place[None] - shifted(place, self.size)
        hidden = self.reduce_relation(relu(self.relation_norm(relation, train=train)))
        hidden += self.reduce_position(relu(self.position_norm(position, train=train)))
        scores = self.weigh(relu(self.norm(hidden, train=train)))
        return nnx.softmax(scores.astype(at_least_float32(scores.dtype)), axis=0)


class PatchwiseWeights(nnx.Module):
    """Weights of a whole footprint at once, which may be negative.

        e = concat(q, S_0(k), ..., S_{size^2 - 1}(k))
        w = weigh(relu(norm(reduce(relu(norm(e))))))

    Normalisation is over batch and pixels, each feature of each offset by itself. q and the shifted
    keys are normalised and reduced by layers of their own; the sum of both reductions is that of e.
    """

    def __init__(self, features: int, groups: int, size: int, **settings: Unpack[Settings]) -> None:
        """Creates the weights of `groups` groups from queries and keys of `features`."""
        patch = size**2 * features
        fan_in = features + patch
        self.size = size
        self.query_norm = BatchNorm(features, **settings)
        self.patch_norm = BatchNorm(patch, **settings)
        self.reduce_query = Pointwise(features, groups, use_bias=False, fan_in=fan_in, **settings)
        self.reduce_patch = Pointwise(patch, groups, use_bias=False, fan_in=fan_in, **settings)
        self.norm = BatchNorm(groups, **settings)
        self.weigh = Pointwise(groups, size**2 * groups, **settings)

    def __call__(self, query: jax.Array, key: jax.Array, *, train: bool) -> jax.Array:
        """Weights [size^2, batch, height, width, groups]."""
        pixels = query.shape[:3]
        # Offsets outside, features inside.
        patch = jnp.moveaxis(shifted(key, self.size), 0, -2).reshape(*pixels, -1)
        hidden = self.reduce_query(relu(self.query_norm(query, train=train)))
        hidden += self.reduce_patch(relu(self.patch_norm(patch, train=train)))
        weights = self.weigh(relu(self.norm(hidden, train=train)))
        return jnp.moveaxis(weights.reshape(*pixels, self.size**2, -1), -2, 0)


# A new kind of weights is one class here and one line in this table.
KINDS: dict[str, type[PairwiseWeights] | type[PatchwiseWeights]] = {
    "patchwise": PatchwiseWeights,
    "pairwise": PairwiseWeights,
}


class SelfAttention(nnx.Module):
    """aggregate(weights(query(x), key(x)), value(x)).

    Of F features, queries and keys have F / 16 and values F / 4, of which eight share a weight.
    """

    def __init__(self, features: int, size: int, kind: str, **settings: Unpack[Settings]) -> None:
        """Creates the layers.

        Args:
          features: F, a multiple of 32.
          size: pixels of the footprint along a side, odd.
          kind: of weights, a name of `KINDS`.
          **settings: see `Settings`.
        """
        relation = features // 16
        self.query = Pointwise(features, relation, **settings)
        self.key = Pointwise(features, relation, **settings)
        self.value = Pointwise(features, features // 4, **settings)
        self.weights = KINDS[kind](relation, features // 32, size, **settings)

    def weigh(self, images: jax.Array, *, train: bool) -> jax.Array:
        """The weights [size^2, batch, height, width, features / 32]."""
        return self.weights(self.query(images), self.key(images), train=train)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, features] to a quarter of the features."""
        values = self.value(images)
        return aggregate(self.weigh(images, train=train), values).astype(values.dtype)


class SelfAttentionBlock(nnx.Module):
    """y = x + expand(relu(norm(attention(relu(norm(x)))))).

    In training, what it computes within is computed again for the gradient and not kept: the
    relations of a footprint of 7x7 pixels are 49 maps.
    """

    def __init__(self, features: int, size: int, kind: str, **settings: Unpack[Settings]) -> None:
        """Takes what `SelfAttention` takes."""
        self.norm = BatchNorm(features, **settings)
        self.attention = SelfAttention(features, size, kind, **settings)
        self.attended_norm = BatchNorm(features // 4, **settings)
        self.expand = Pointwise(features // 4, features, **settings)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps [batch, height, width, features] to the same."""
        return _train(self, images) if train else self.compute(images, train=False)

    def compute(self, images: jax.Array, *, train: bool) -> jax.Array:
        """What the block computes."""
        attended = self.attention(relu(self.norm(images, train=train)), train=train)
        return images + self.expand(relu(self.attended_norm(attended, train=train)))


@nnx.remat
def _train(block: SelfAttentionBlock, images: jax.Array) -> jax.Array:
    return block.compute(images, train=True)


def _coordinates(height: int, width: int, dtype: jnp.dtype) -> jax.Array:
    """Column and row of each pixel, both from -1 to 1, [1, height, width, 2]."""
    columns, rows = (jnp.linspace(-1, 1, length, dtype=dtype) for length in (width, height))
    return jnp.stack(jnp.meshgrid(columns, rows), -1)[None]
