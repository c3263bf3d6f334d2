"""A run's folder read back: the network it trained, ready for images.

Fine-tuning and distillation start from such a network, so this package stands below `methods`: it
knows networks, pictures and files, and reads a run's config as plain data.
"""

from skdsam_jax.trained.checkpoint_files import CheckpointError
from skdsam_jax.trained.loading import load
from skdsam_jax.trained.network import Trained

__all__ = ["CheckpointError", "Trained", "load"]
