"""Settings of the optimiser, the loop, the checkpoints and the logs."""

import dataclasses

from skdsam_jax.options import option


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """`config.training`: the recipe. The defaults are the thesis' (section 4.1.3)."""

    epochs: int = option(250, "passes over the training set", minimum=1)
    batch_size: int = option(128, "images per step, over all devices", minimum=1)
    learning_rate: float = option(0.1, "step size before the first decay", above=0)
    decay_at: tuple[float, ...] = option(
        (0.4, 0.6), "shares of `epochs` after which the step size decays", above=0, below=1
    )
    decay_factor: float = option(0.1, "what each decay multiplies the step size by", above=0)
    momentum: float = option(0.9, "of SGD", minimum=0, below=1)
    nesterov: bool = option(False, "use Nesterov's momentum")
    weight_decay: float = option(5e-4, "added to the gradient, of every parameter", minimum=0)
    label_smoothing: float = option(
        0.0, "probability that labels give to the other classes, evenly", minimum=0, below=1
    )
    compute_dtype: str = option(
        "float32",
        "of convolutions and dense layers; parameters, BatchNorm and losses stay float32",
        choices=("float32", "bfloat16"),
    )
    steps_per_dispatch: int | None = option(
        None, "steps per call of the compiled step; unset: 1 on a CPU, 100 elsewhere", minimum=1
    )
    on_nonfinite: str = option(
        "stop",
        "at a loss or gradient that is not finite: stop the run, or skip the step",
        choices=("stop", "skip"),
    )


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """`config.evaluation`."""

    batch_size: int = option(512, "images per evaluated batch, over all devices", minimum=1)
    every_epochs: int = option(1, "epochs between evaluations; the last epoch always", minimum=1)


@dataclasses.dataclass(frozen=True)
class CheckpointOptions:
    """`config.checkpoint`."""

    every_minutes: float = option(
        5.0, "save when this long has passed, at the next dispatch; 0: after each", minimum=0
    )
    keep_latest: int = option(2, "how many of the newest checkpoints to keep", minimum=1)


@dataclasses.dataclass(frozen=True)
class LoggingOptions:
    """`config.logging`."""

    tensorboard: bool = option(True, "write TensorBoard events into the workdir")
