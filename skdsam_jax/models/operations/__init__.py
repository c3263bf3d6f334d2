"""Array operations whose usual forms are slow on a CPU or a TPU, forward or backward.

What is computed depends on the platform that a program is lowered for, not on the machine that
traces it: both forms are traced, and lowering keeps one, so that no compiler sees a conditional.

`depthwise_convolution`, `double` and what Winograd's form computes define their own gradient, so
they can be differentiated in reverse mode only.
"""

from skdsam_jax.models.operations.activation import relu
from skdsam_jax.models.operations.convolutions import convolution, fast_convolution
from skdsam_jax.models.operations.depthwise import depthwise_convolution
from skdsam_jax.models.operations.precision import at_least_float32
from skdsam_jax.models.operations.resampling import double, max_pool
from skdsam_jax.models.operations.winograd import winograd_convolution

__all__ = [
    "at_least_float32",
    "convolution",
    "depthwise_convolution",
    "double",
    "fast_convolution",
    "max_pool",
    "relu",
    "winograd_convolution",
]
