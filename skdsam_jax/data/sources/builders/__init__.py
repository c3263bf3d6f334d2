"""TFDS builders for sets that TFDS lacks; importing this package registers them.

They prepare without TensorFlow, given `file_format="array_record"`.
"""

from skdsam_jax.data.sources.builders.mit_indoor67 import MitIndoor67
from skdsam_jax.data.sources.builders.stanford40_actions import Stanford40Actions
from skdsam_jax.data.sources.builders.tiny_imagenet import TinyImagenet

__all__ = ["MitIndoor67", "Stanford40Actions", "TinyImagenet"]
