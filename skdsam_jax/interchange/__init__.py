"""Networks for others and from others, in files whose formats are not ours."""

from skdsam_jax.interchange.formats import FORMATS, export

__all__ = ["FORMATS", "export"]
