"""Runs implementations in turns and makes numbers of their times."""

import contextlib
import dataclasses
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.agreement import Agreement, compare
from benchmarks.settings import Settings
from benchmarks.worker import Worker, as_commands_start
from skdsam_jax.allocator import find_tcmalloc

OURS = "skdsam_jax"

# In float64. A ResNet-18's float32 gradients are 0.3 to 0.7 % from the exact ones on either side:
# ReLU switches at zero, so that the last digit of an activation decides about its whole gradient.
TOLERANCE = 1e-6
# XLA's float64 convolutions take seconds per image on a CPU, and a few prove as much as many.
IMAGES_TO_AGREE_ON = 4

# The compilation of what is timed must not be one that was kept from an earlier run.
_ENVIRONMENT = {"JAX_ENABLE_COMPILATION_CACHE": "false"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
      settings: of each method.
      convolutions: further forms to time this library's step with, beside that of `settings`.
      other_allocator: whether to time each also with the allocator that its users do not have
        without asking: this library with the C library's, PyTorch with TCMalloc.
      variants: of PyTorch, "eager" or "compile"; may be empty.
      platform: JAX's name of the device, "cpu" or "gpu".
      steps: per measurement.
      repeats: measurements of each implementation.
      memory_steps: the least number of steps whose peak of memory is reported; it can climb for
        some, such as where an allocator keeps what was freed in pieces.
      agreement: whether loss and gradients are compared with PyTorch's first.
    """

    settings: Sequence[Settings]
    convolutions: Sequence[str]
    other_allocator: bool
    variants: Sequence[str]
    platform: str
    steps: int
    repeats: int
    memory_steps: int
    agreement: bool = True


def find_platform() -> str:
    """The platform that JAX uses here, asked in another process."""
    program = "import jax; print(jax.default_backend())"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout.split()[-1]


def measure(plan: Plan) -> dict[str, Any]:
    """Checks that all implementations agree, unless the plan trusts them, then times them in turns.

    Returns:
      Plain values, as `--json` writes them.

    Raises:
      DisagreementError: before anything is timed.
    """
    compared = plan.agreement and plan.variants
    agreements = {
        settings.method: check_agreement(settings, plan.platform) if compared else None
        for settings in plan.settings
    }
    with contextlib.ExitStack() as stack:
        workers: dict[tuple[str, str], Worker] = {}
        for settings in plan.settings:
            ours = stack.enter_context(_ours(settings))
            workers[settings.method, OURS] = ours
            for form in plan.convolutions:
                other = dataclasses.replace(settings, convolution=form)
                workers[settings.method, f"{OURS}_{form}"] = stack.enter_context(_ours(other))
            if plan.other_allocator:
                default = stack.enter_context(_ours(settings, LD_PRELOAD=""))
                workers[settings.method, f"{OURS}_default_allocator"] = default
            for variant in plan.variants:
                allocators = {"": {}}
                if plan.other_allocator:
                    allocators["_tcmalloc"] = {"LD_PRELOAD": find_tcmalloc() or ""}
                for suffix, environment in allocators.items():
                    theirs = _pytorch(settings, plan.platform, variant, **environment)
                    workers[settings.method, f"pytorch_{variant}{suffix}"] = theirs
                    stack.enter_context(theirs)("load", ours("weights"))
        facts = {key: worker("describe") for key, worker in workers.items()}
        first = {key: worker("first_step") for key, worker in workers.items()}
        seconds = _take_turns(plan, workers)
        peak = _matrix_peak(plan, workers)
        methods = {}
        for settings in plan.settings:
            mine = {
                name: worker for (method, name), worker in workers.items()
                if method == settings.method
            }  # fmt: skip
            methods[settings.method] = _summarize(
                settings,
                mine,
                {name: seconds[settings.method, name] for name in mine},
                {
                    name: {"allocator": facts[settings.method, name]["allocator"]}
                    | first[settings.method, name]
                    for name in mine
                },
                peak,
            )
            agreement = agreements[settings.method]
            methods[settings.method]["agreement"] = agreement and dataclasses.asdict(agreement)
            described = facts[settings.method, OURS]
            methods[settings.method]["parameters"] = described["parameters"]
    versions = {}
    for described_by in facts.values():
        versions |= described_by["versions"]
    common = dataclasses.asdict(plan.settings[0])
    common.pop("method")
    return {
        "settings": common
        | {"steps": plan.steps, "repeats": plan.repeats, "memory_steps": plan.memory_steps},
        "hardware": facts[plan.settings[0].method, OURS]["hardware"],
        "versions": versions,
        "matrix_peak_flops_per_second": peak,
        "methods": methods,
        "ratios": _ratios(plan, seconds),
    }


def check_agreement(settings: Settings, platform: str) -> Agreement:
    """Compares loss and gradients of a few images from the same weights, in float64.

    Raises:
      DisagreementError: they differ by more than rounding.
    """
    batch_size = min(settings.batch_size, IMAGES_TO_AGREE_ON)
    settings = dataclasses.replace(
        settings, compute_dtype="float32", batch_size=batch_size, examples=batch_size
    )
    with (
        _ours(settings, JAX_ENABLE_X64="true") as ours,
        _pytorch(settings, platform, "eager") as theirs,
    ):
        theirs("use_float64")
        theirs("load", ours("weights"))
        return compare(ours("loss_and_gradient"), theirs("loss_and_gradient"), TOLERANCE)


def _ours(settings: Settings, **environment: str) -> Worker:
    target = "benchmarks.jax_training:JaxTraining"
    return Worker(target, settings, environment=_ENVIRONMENT | as_commands_start() | environment)


def _pytorch(settings: Settings, platform: str, variant: str, **environment: str) -> Worker:
    device = "cpu" if platform == "cpu" else "cuda"
    target = "benchmarks.pytorch_training:PytorchTraining"
    return Worker(target, settings, device, variant == "compile", environment=environment)


def _take_turns(
    plan: Plan, workers: Mapping[tuple[str, str], Worker]
) -> dict[tuple[str, str], list[float]]:
    """Seconds per step of each turn of each worker; a turn before the first is not counted.

    Nor is the first step of a turn: what the others did has emptied caches, and a virtual machine
    may have taken back the memory that was free meanwhile. Training is one step after another.
    """
    for worker in workers.values():
        worker("run", plan.steps)
        worker("reset_peak_memory")
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in workers}
    for _ in range(plan.repeats):
        for key, worker in workers.items():
            worker("run", 1)
            seconds[key].append(worker("run", plan.steps))
    for worker in workers.values():
        if (missing := plan.memory_steps - (1 + plan.steps) * plan.repeats) > 0:
            worker("run", missing)
    return seconds


def _matrix_peak(plan: Plan, workers: Mapping[tuple[str, str], Worker]) -> float:
    """The faster of the libraries' matrix products, in FLOP/s."""
    size = 2048 if plan.platform == "cpu" else 8192
    one_of_each = {name: worker for (_, name), worker in workers.items()}
    return max(worker("matrix_peak", size) for worker in one_of_each.values())


def _summarize(
    settings: Settings,
    workers: Mapping[str, Worker],
    seconds: Mapping[str, Sequence[float]],
    first: Mapping[str, Mapping[str, Any]],
    peak: float,
) -> dict[str, Any]:
    """What was measured of one method."""
    flops = first[OURS]["flops_per_image"]
    implementations = {}
    for name, worker in workers.items():
        rate = settings.batch_size / statistics.median(seconds[name])
        implementations[name] = {
            "images_per_second": rate,
            "share_of_matrix_peak": rate * flops / peak,
            "peak_memory_bytes": worker("peak_memory_bytes"),
            "seconds_per_step": list(seconds[name]),
            **first[name],
        }
    input_seconds = workers[OURS]("input_seconds")
    implementations[OURS]["input_share"] = input_seconds / statistics.median(seconds[OURS])
    return {"flops_per_image": flops, "implementations": implementations}


def _ratios(
    plan: Plan, seconds: Mapping[tuple[str, str], Sequence[float]]
) -> dict[str, dict[str, float]]:
    """Speed over speed, by "A over B"; medians and extremes over the turns."""
    pairs = {}
    baseline = plan.settings[0].method
    names = list(dict.fromkeys(name for _, name in seconds))
    for settings in plan.settings:
        method = settings.method
        for name in names[1:]:
            pairs[f"{method}: {OURS} over {name}"] = ((method, OURS), (method, name))
        for name in names if method != baseline else ():
            pairs[f"{name}: {method} over {baseline}"] = ((method, name), (baseline, name))
    ratios = {}
    for label, (numerator, denominator) in pairs.items():
        turns = [b / a for a, b in zip(seconds[numerator], seconds[denominator], strict=True)]
        ratios[label] = {
            "median": statistics.median(turns), "minimum": min(turns), "maximum": max(turns)
        }  # fmt: skip
    return ratios
