"""The label apart from the other classes: what several losses build on."""

import jax
import jax.numpy as jnp


def at_label(values: jax.Array, is_label: jax.Array) -> jax.Array:
    """The entries of the labels, [batch]."""
    return jnp.sum(jnp.where(is_label, values, 0.0), axis=-1)


def share_of_others(shares: jax.Array, is_label: jax.Array) -> jax.Array:
    """Scales the shares of the classes other than the label to sum 1; the label's becomes 0."""
    shares = jnp.where(is_label, 0.0, shares)
    return shares / jnp.sum(shares, axis=-1, keepdims=True)


def log_softmax_of_others(logits: jax.Array, is_label: jax.Array) -> jax.Array:
    """Log softmax over the classes other than the label; 0 at the label."""
    others = jax.nn.log_softmax(jnp.where(is_label, -jnp.inf, logits), axis=-1)
    return jnp.where(is_label, 0.0, others)
