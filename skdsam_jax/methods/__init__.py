"""Training methods: what each adds to a backbone, and its loss.

A new method is one file here and one line in the table below; `method=NAME` behind any config file
then trains it.
"""

import dataclasses
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
from skdsam_jax.methods.skdsam_plus import SkdsamPlus
from skdsam_jax.methods.tf_kd import TfKd
from skdsam_jax.methods.uskd import Uskd
from skdsam_jax.methods.zipf import Zipf
from skdsam_jax.options import ConfigError, find
from skdsam_jax.references import find_reference, is_reference

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
    "skdsam_plus": SkdsamPlus,
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
    "current_name",
    "find_method",
]


def find_method(name: str) -> type[Method]:
    """The class of the method called `name`, or once called so, or of module:Name.

    Raises:
      ConfigError: no method has that name, or what has it is no method.
    """
    where = "config.method.name"
    if is_reference(name):
        return _checked(name, find_reference(name, where), where)
    also = ("module:Name",)
    return find(METHODS, ALIASES.get(name, name), where, kind="method", also=also)


def current_name(name: str) -> str:
    """What the method called `name`, now or in an earlier version, is called now."""
    return ALIASES.get(name, name)


def _checked(name: str, found: Any, where: str) -> type[Method]:
    """A method of the user's own, which has what a `Method` must have.

    Raises:
      ConfigError: it has not; says all that is missing.
    """
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ConfigError(f"{where}: {name} takes to be derived from skdsam_jax.methods.Method")
    problems = []
    if found.loss is Method.loss and found.objective is Method.objective:
        problems.append("has neither objective nor loss")
    options = found.Options
    if not (isinstance(options, type) and issubclass(options, MethodOptions)):
        problems.append("has Options that are not derived from MethodOptions")
    elif not options.__dataclass_params__.frozen or "__dataclass_fields__" not in vars(options):
        problems.append("has Options that are no dataclass(frozen=True)")
    elif bare := [
        field.name
        for field in dataclasses.fields(options)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]:
        problems.append(f"has Options without a default of {', '.join(bare)}")
    if problems:
        raise ConfigError(f"{where}: {name} {'; '.join(problems)}")
    return found


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

    Raises:
      ConfigError: the method copies stages, and the backbone cannot.
    """
    cls = find_method(options.name)
    missing = [name for name in ("branch", "depths") if not hasattr(backbone, name)]
    if cls.copies_stages and missing:
        raise ConfigError(
            f"config.method.name: {options.name} copies stages of the backbone, and "
            f"{type(getattr(backbone, 'network', backbone)).__name__} has no "
            f"{' and no '.join(missing)}"
        )
    return cls(backbone, num_classes, options, **settings)
