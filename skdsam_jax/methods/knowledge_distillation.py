"""Knowledge distillation: a finished run teaches a new one."""

import dataclasses
import functools
from typing import TYPE_CHECKING, ClassVar, Unpack

import jax
import numpy as np

from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.methods.base import (
    ExitOutputs,
    Frozen,
    ImageSet,
    Memory,
    Method,
    MethodOptions,
    Terms,
    named,
)
from skdsam_jax.models import Backbone, Settings
from skdsam_jax.options import ConfigError, number, option

if TYPE_CHECKING:
    from skdsam_jax.trained import Trained


@dataclasses.dataclass(frozen=True)
class KnowledgeDistillationOptions(MethodOptions):
    """Settings of `losses.knowledge_distillation_loss`, and who teaches."""

    name: str = named("knowledge_distillation")
    weight: float = number(1.0, "lambda, of the teacher's prediction", minimum=0)
    temperature: float = number(4.0, "softens the distilled distributions", above=0)
    teacher: str | None = option(None, "workdir of a finished run on the same classes")
    teacher_sha256: str | None = option(
        None,
        "of the teacher's variables; filled in when a run begins, which then keeps to it",
        filled_in=True,
    )


class KnowledgeDistillation(Method):
    """Distillation from another network (Hinton et al., 2015, arXiv:1503.02531).

    The teacher is the newest checkpoint of a run, with running statistics. It sees what the student
    sees, augmented alike, under its own mean and deviation.
    """

    Options: ClassVar = KnowledgeDistillationOptions
    loss_function = staticmethod(losses.knowledge_distillation_loss)

    def add_layers(
        self, backbone: Backbone, num_classes: int, **settings: Unpack[Settings]
    ) -> None:
        """No layer of its own, but the structure of the teacher's network."""
        self._teacher = _teacher(self.options).network

    @classmethod
    def resolve(cls, options: KnowledgeDistillationOptions) -> KnowledgeDistillationOptions:
        """Fills in the teacher's SHA-256."""
        found = _teacher(options).params_digest
        if options.teacher_sha256 not in (None, found):
            raise ConfigError(
                f"config.method.teacher: {options.teacher} holds {found[:12]}..., not "
                f"{options.teacher_sha256[:12]}... of config.method.teacher_sha256"
            )
        return dataclasses.replace(options, teacher_sha256=found)

    @classmethod
    def frozen(cls, options: KnowledgeDistillationOptions, images: ImageSet) -> Frozen:
        """The teacher's variables, and what takes images from the student's look to its own."""
        teacher = _teacher(options)
        _check(options.teacher, teacher, images)
        mean, std = (np.asarray(value) for value in (images.mean, images.std))
        return {
            "params": teacher.params["classifier"],
            "model_state": teacher.model_state["classifier"],
            "scale": std / np.asarray(teacher.std),
            "shift": (mean - np.asarray(teacher.mean)) / np.asarray(teacher.std),
        }

    def loss(
        self, batch: Batch, memory: Memory | None = None, frozen: Frozen | None = None
    ) -> tuple[jax.Array, tuple[Terms, ExitOutputs]]:
        """`losses.knowledge_distillation_loss` of the deepest exit and the teacher."""
        outputs = self.outputs(batch.images, train=True)
        teacher = self._teacher.merge(frozen["params"], frozen["model_state"])
        scale, shift = (frozen[name].astype(batch.images.dtype) for name in ("scale", "shift"))
        teacher_logits = teacher(batch.images * scale + shift)
        scalar, terms = losses.knowledge_distillation_loss(
            outputs.logits[-1], teacher_logits, batch.labels, **self.loss_settings
        )
        return scalar, (terms, outputs)


def _teacher(options: KnowledgeDistillationOptions) -> "Trained":
    """The teacher's run, read once by those who know its SHA-256."""
    if options.teacher is None:
        raise ConfigError("config.method.teacher: takes the workdir of a finished run")
    if options.teacher_sha256 is None:
        return _load(options.teacher)
    return _load_once(options.teacher, options.teacher_sha256)


@functools.lru_cache(maxsize=1)
def _load_once(workdir: str, sha256: str) -> "Trained":
    return _load(workdir)


def _load(workdir: str) -> "Trained":
    # Orbax takes longer to import than all methods together.
    from skdsam_jax.trained import CheckpointError, load

    try:
        # The first to ask may be a trace of the network, and would be given traced arrays.
        with jax.ensure_compile_time_eval():
            return load(workdir)
    except (ConfigError, CheckpointError) as error:
        raise ConfigError(f"config.method.teacher: {error}") from None


def _check(workdir: str, teacher: "Trained", images: ImageSet) -> None:
    """Raises a ConfigError if the teacher was trained for other classes or images."""
    if teacher.class_names != images.class_names:
        numbered = teacher.class_names == tuple(map(str, range(len(images.class_names))))
        # A run that left no names is believed where it was trained on a set of the same name.
        if not (numbered and teacher.config["data"]["name"] == images.name):
            raise ConfigError(
                f"config.method.teacher: {workdir} knows other classes, "
                f"{_some(teacher.class_names)}, than {images.name}, {_some(images.class_names)}"
            )
    if teacher.image_shape != images.shape:
        raise ConfigError(
            f"config.method.teacher: {workdir} takes images {list(teacher.image_shape)}, not "
            f"{list(images.shape)}"
        )


def _some(names: tuple[str, ...]) -> str:
    return f"{len(names)} from {names[0]} to {names[-1]}"
