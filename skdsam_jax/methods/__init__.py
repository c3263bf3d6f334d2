"""Training methods: what each adds to a backbone, and its loss.

A new method is one file here and one line in the table below; `method=NAME` behind any config file
then trains it.
"""

from typing import Any

from flax import nnx

from skdsam_jax.methods.base import ExitOutputs, Method, MethodOptions, Terms
from skdsam_jax.methods.byot import Byot
from skdsam_jax.methods.cross_entropy import CrossEntropy
from skdsam_jax.methods.label_augmentation import CrossEntropySla, SkdsamSla
from skdsam_jax.methods.pd_byot import PdByot
from skdsam_jax.methods.skdsam import Skdsam
from skdsam_jax.options import ConfigError, known

METHODS: dict[str, type[Method]] = {
    "byot": Byot,
    "cross_entropy": CrossEntropy,
    "cross_entropy_sla": CrossEntropySla,
    "pd_byot": PdByot,
    "skdsam": Skdsam,
    "skdsam_sla": SkdsamSla,
}

__all__ = [
    "METHODS",
    "ExitOutputs",
    "Method",
    "MethodOptions",
    "Terms",
    "create_method",
    "find_method",
]


def find_method(name: str) -> type[Method]:
    """The class of the method called `name`.

    Raises:
      ConfigError: no method has that name.
    """
    if name not in METHODS:
        raise ConfigError(f"config.method.name: unknown method {name!r}; {known(name, METHODS)}")
    return METHODS[name]


def create_method(
    options: MethodOptions, backbone: nnx.Module, num_classes: int, **settings: Any
) -> Method:
    """Builds the method that `options` names around `backbone`.

    Args:
      options: an instance of the method's own `Options`.
      backbone: the network whose stages become exits.
      num_classes: the number of classes.
      **settings: `dtype`, `param_dtype` and `rngs` of every module, and `head_width_cap`.

    Returns:
      The method, with freshly initialised parameters.
    """
    return find_method(options.name)(backbone, num_classes, options, **settings)
