"""What the losses of whole networks return."""

import jax

Loss = tuple[jax.Array, dict[str, jax.Array]]
"""A scalar, the mean over the batch, and its terms per example, without any of the weights."""
