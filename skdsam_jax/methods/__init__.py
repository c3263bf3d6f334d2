"""Training methods: what each adds to a backbone, and its loss.

A new method is one file here and one line in the table below; `method=NAME` behind any config file
then trains it.
"""

from typing import Any

from flax import nnx

from skdsam_jax.methods.bake import Bake
from skdsam_jax.methods.base import (
    ExitOutputs,
    Frozen,
    ImageSet,
    Memory,
    Method,
    MethodOptions,
    Terms,
    TrainingSet,
)
from skdsam_jax.methods.byot import Byot
from skdsam_jax.methods.cross_entropy import CrossEntropy
from skdsam_jax.methods.cs_kd import CsKd
from skdsam_jax.methods.ddgsd import Ddgsd
from skdsam_jax.methods.dks import Dks
from skdsam_jax.methods.dlb import Dlb
from skdsam_jax.methods.frskd import Frskd
from skdsam_jax.methods.knowledge_distillation import KnowledgeDistillation
from skdsam_jax.methods.label_augmentation import SkdsamSla, SlaSd
from skdsam_jax.methods.label_smoothing import LabelSmoothing
from skdsam_jax.methods.lightskd import LightSkd
from skdsam_jax.methods.mixskd import MixSkd
from skdsam_jax.methods.msd import Msd
from skdsam_jax.methods.okddip import Okddip
from skdsam_jax.methods.pd_byot import PdByot
from skdsam_jax.methods.ps_kd import PsKd
from skdsam_jax.methods.sad import Sad
from skdsam_jax.methods.skdsam import Skdsam
from skdsam_jax.methods.tf_kd import TfKd
from skdsam_jax.methods.uskd import Uskd
from skdsam_jax.methods.zipf import Zipf
from skdsam_jax.options import find

METHODS: dict[str, type[Method]] = {
    "bake": Bake,
    "byot": Byot,
    "cross_entropy": CrossEntropy,
    "cs_kd": CsKd,
    "ddgsd": Ddgsd,
    "dks": Dks,
    "dlb": Dlb,
    "frskd": Frskd,
    "knowledge_distillation": KnowledgeDistillation,
    "label_smoothing": LabelSmoothing,
    "lightskd": LightSkd,
    "mixskd": MixSkd,
    "msd": Msd,
    "okddip": Okddip,
    "pd_byot": PdByot,
    "ps_kd": PsKd,
    "sad": Sad,
    "skdsam": Skdsam,
    "skdsam_sla": SkdsamSla,
    "sla_sd": SlaSd,
    "tf_kd": TfKd,
    "uskd": Uskd,
    "zipf": Zipf,
}

ALIASES = {"cross_entropy_sla": "sla_sd"}
"""Names of earlier versions, and what they are called now."""

__all__ = [
    "ALIASES",
    "METHODS",
    "ExitOutputs",
    "Frozen",
    "ImageSet",
    "Memory",
    "Method",
    "MethodOptions",
    "Terms",
    "TrainingSet",
    "create_method",
    "find_method",
]


def find_method(name: str) -> type[Method]:
    """The class of the method called `name`, or once called so.

    Raises:
      ConfigError: no method has that name.
    """
    return find(METHODS, ALIASES.get(name, name), "config.method.name", kind="method")


def create_method(
    options: MethodOptions, backbone: nnx.Module, num_classes: int, **settings: Any
) -> Method:
    """Builds the method that `options` names around `backbone`.

    Args:
      options: an instance of the method's own `Options`.
      backbone: the network whose stages become exits.
      num_classes: the number of classes.
      **settings: `head_width_cap`, `dtype`, `param_dtype` and `rngs`.

    Returns:
      The method, with freshly initialised parameters.
    """
    return find_method(options.name)(backbone, num_classes, options, **settings)
