"""The maps under the entries of a 3x3 kernel."""

import jax
import jax.numpy as jnp

from skdsam_jax.models.operations.precision import at_least_float32


def shifted(
    images: jax.Array, stride: int, border: float = 0, before: tuple[int, int] = (1, 1)
) -> list[jax.Array]:
    """The map under each of the nine kernel entries, in at least float32."""
    height, width = images.shape[1:3]
    above, left = before
    pixels = ((0, 0), (above, 2 - above), (left, 2 - left), (0, 0))
    padded = jnp.pad(images, pixels, constant_values=border)
    padded = padded.astype(at_least_float32(images.dtype))
    return [
        padded[:, row : row + height : stride, column : column + width : stride]
        for row in range(3)
        for column in range(3)
    ]
