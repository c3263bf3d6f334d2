"""Settings of the optimiser, the loop, the checkpoints and the logs."""

import dataclasses

from skdsam_jax.options import ConfigError, number, option


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """`config.training`: the recipe. The defaults are the thesis' (section 4.1.3).

    The equations are in `training.optimizer` and `training.averaging`.
    """

    epochs: int = option(250, "passes over the training set", minimum=1)
    batch_size: int = option(128, "images per step, over all devices", minimum=1)
    optimizer: str = option(
        "sgd",
        "what turns gradients into steps; adamw wants its own learning_rate, about 0.001",
        choices=("sgd", "adamw"),
    )
    learning_rate: float = number(0.1, "step size before it first decays", above=0)
    schedule: str = option(
        "steps",
        "how the step size decays: at `decay_at`, or as half a cosine",
        choices=("steps", "cosine"),
    )
    decay_at: tuple[float, ...] = option(
        (0.4, 0.6),
        "shares of `epochs` after which the step size decays; of schedule steps",
        above=0,
        below=1,
    )
    decay_factor: float = option(
        0.1, "what each decay multiplies the step size by; of schedule steps", above=0
    )
    final_learning_rate: float = number(0.0, "step size at the end; of schedule cosine", minimum=0)
    warmup_epochs: float = option(
        0.0, "epochs, of all, over which the step size first rises in a line", minimum=0
    )
    momentum: float = number(0.9, "of sgd", minimum=0, below=1)
    nesterov: bool = option(False, "use Nesterov's momentum; of sgd")
    betas: tuple[float, float] = option(
        (0.9, 0.999),
        "decay of the gradient's mean and of its square's; of adamw",
        minimum=0,
        below=1,
    )
    epsilon: float = option(1e-8, "added to the root of the square's mean; of adamw", above=0)
    weight_decay: float = number(
        5e-4,
        "share of the parameters added to the gradient by sgd, to the step by adamw",
        minimum=0,
    )
    decay_norms_and_biases: bool = option(
        True, "weight decay of all parameters; False: of those of two and more dimensions alone"
    )
    clip_gradient_norm: float | None = option(
        None, "longest gradient, of all parameters together; unset: any", above=0
    )
    ema_decay: float = option(
        0.0,
        "of the moving average of the weights, which is then what is evaluated; 0: none is kept",
        minimum=0,
        below=1,
    )
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


# Field -> the choice that reads it. Not `decay_at`, which recipes set whatever their schedule.
_READ_BY = {
    "momentum": ("optimizer", "sgd"),
    "nesterov": ("optimizer", "sgd"),
    "betas": ("optimizer", "adamw"),
    "epsilon": ("optimizer", "adamw"),
    "decay_factor": ("schedule", "steps"),
    "final_learning_rate": ("schedule", "cosine"),
}


def check_training(options: TrainingOptions) -> None:
    """Raises a ConfigError for fields that do not go together, or that nothing would read."""
    for name, (choice, reader) in _READ_BY.items():
        value, default = getattr(options, name), getattr(TrainingOptions, name)
        if value != default and getattr(options, choice) != reader:
            raise ConfigError(
                f"config.training.{name}: takes a value of its own with {choice} {reader} alone, "
                f"not with {getattr(options, choice)}"
            )
    if options.final_learning_rate > options.learning_rate:
        raise ConfigError(
            "config.training.final_learning_rate: takes at most the learning_rate, "
            f"{options.learning_rate:g}, not {options.final_learning_rate:g}"
        )
    if options.warmup_epochs >= options.epochs:
        raise ConfigError(
            f"config.training.warmup_epochs: takes less than the {options.epochs} epochs, "
            f"not {options.warmup_epochs:g}"
        )
