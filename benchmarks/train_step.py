"""Times the training step here and in PyTorch: `python -m benchmarks.train_step`.

Both train the same network on the same batches' worth of random images, each in a process of its
own, in turns: A B A B. A ratio is the median over the turns of PyTorch's time over this library's,
above 1 where this library is faster. Before anything is timed both compute loss and gradients
from the same weights, and the command stops if they differ.

The device is JAX's. On a GPU the compute type is bfloat16, under autocast in PyTorch, which runs
eagerly and compiled; on a CPU it is float32 and eager. PyTorch is the extra `benchmark`; without
it only this library is timed. Memory is the peak of twenty steps or more.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence

from benchmarks.agreement import DisagreementError
from benchmarks.measure import Plan, find_platform, measure
from benchmarks.options import add_json, make_parser, positive, write_json
from benchmarks.report import describe
from benchmarks.settings import CONVOLUTIONS, METHODS, MODELS, Settings
from skdsam_jax.allocator import find_tcmalloc

VARIANTS = ("eager", "compile")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = make_parser("train_step", __doc__)
    add = options.add_argument
    methods = ["cross_entropy", "skdsam"]
    add("--method", nargs="+", choices=METHODS, default=methods, help="the first is the baseline")
    add("--model", choices=MODELS, default="resnet18", help="by default resnet18")
    add("--width", type=positive, help="of the network; by default 64, for wrn16_2 16")
    add("--batch_size", type=positive, default=128, help="images per step; default 128")
    add("--image_size", type=positive, default=32, help="their side in pixels; default 32")
    add("--examples", type=positive, default=50_000, help="images that lie on the device")
    add(
        "--augment",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="crop and flip the images at random, which is the default",
    )
    add(
        "--compute_dtype",
        choices=("float32", "bfloat16"),
        help="by default float32 on a CPU, bfloat16 on a GPU",
    )
    add(
        "--convolution",
        nargs="+",
        choices=CONVOLUTIONS,
        default=["winograd"],
        help="this library's form of 3x3 convolutions; each after the first is timed beside it",
    )
    add(
        "--other_allocator",
        action="store_true",
        help="on a CPU: time this library also with the C library's allocator, PyTorch also with "
        "TCMalloc",
    )
    add(
        "--pytorch",
        nargs="*",
        choices=VARIANTS,
        help="how PyTorch runs, by default eager on a CPU and both on a GPU; --pytorch alone: "
        "without PyTorch",
    )
    add("--steps", type=positive, help="per measurement; by default 2 on a CPU, 200 on a GPU")
    add("--repeats", type=positive, default=5, help="measurements of each")
    add(
        "--memory_steps",
        type=positive,
        default=20,
        help="whose peak is shown, at least; by default 20",
    )
    add(
        "--agreement",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="first compare loss and gradients with PyTorch's, which is the default",
    )
    add_json(options)
    return options


def make_plan(arguments: argparse.Namespace) -> Plan:
    """What to measure, on the device that JAX finds.

    Raises:
      ValueError: PyTorch or TCMalloc was asked for and is not installed.
    """
    if arguments.other_allocator and find_tcmalloc() is None:
        raise ValueError("--other_allocator: TCMalloc is not installed")
    installed = importlib.util.find_spec("torch") is not None
    if arguments.pytorch and not installed:
        raise ValueError('--pytorch: PyTorch is not installed; pip install -e ".[benchmark]"')
    platform = find_platform()
    on_cpu = platform == "cpu"
    variants = arguments.pytorch
    if variants is None:
        variants = ([], ["eager"] if on_cpu else list(VARIANTS))[installed]
    settings = [
        Settings(
            method=method,
            model=arguments.model,
            width=arguments.width or (16 if arguments.model == "wrn16_2" else 64),
            batch_size=arguments.batch_size,
            augment=arguments.augment,
            compute_dtype=arguments.compute_dtype or ("float32" if on_cpu else "bfloat16"),
            examples=max(arguments.examples, arguments.batch_size),
            image_size=arguments.image_size,
            convolution=arguments.convolution[0],
        )
        for method in dict.fromkeys(arguments.method)
    ]
    steps = arguments.steps or (2 if on_cpu else 200)
    others = list(dict.fromkeys(arguments.convolution))[1:]
    return Plan(
        settings,
        others,
        arguments.other_allocator,
        variants,
        platform,
        steps,
        arguments.repeats,
        arguments.memory_steps,
        arguments.agreement,
    )


def main(arguments: Sequence[str]) -> int:
    """Measures, prints and, on request, writes; returns the exit code."""
    options = parser()
    parsed = options.parse_args(arguments)
    try:
        plan = make_plan(parsed)
    except ValueError as error:
        options.error(str(error))
    try:
        result = measure(plan)
    except DisagreementError as error:
        print(f"error: the two compute different things, so nothing is timed: {error}")
        return 1
    result["command"] = " ".join(["python -m benchmarks.train_step", *arguments])
    print(describe(result))
    write_json(parsed.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
