"""State, step, checkpoints, metrics, and the loop that uses them all."""

from skdsam_jax.training.checkpoint import CheckpointError
from skdsam_jax.training.interruption import InterruptedRunError, Interruption
from skdsam_jax.training.loop import train
from skdsam_jax.training.run import NonFiniteError

__all__ = ["CheckpointError", "InterruptedRunError", "Interruption", "NonFiniteError", "train"]
