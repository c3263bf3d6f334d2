"""State, step, checkpoints, metrics, and the loop that uses them all."""

from skdsam_jax.training.checkpoint import CheckpointError
from skdsam_jax.training.interruption import InterruptedRunError
from skdsam_jax.training.loop import NonFiniteError, train

__all__ = ["CheckpointError", "InterruptedRunError", "NonFiniteError", "train"]
