"""Times every convolution of a ResNet-18 by itself: `python -m benchmarks.convolutions`.

Forward, the gradient of its input and the gradient of its filter, here in the form of
`config.model.convolution=winograd` and in the direct one, and in PyTorch (channels_last), on a CPU
in float32, in turns. Their sum is what no change around the convolutions
can save of a training step; the first one's input needs no gradient there. PyTorch is the extra
`benchmark`; without it only this library is timed.
"""

import contextlib
import dataclasses
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.options import add_json, make_parser, positive, write_json
from benchmarks.worker import Worker, as_commands_start

PASSES = ("forward", "input gradient", "filter gradient")
OURS, THEIRS = "skdsam_jax", "pytorch"

# Implementation to the class that times it, and what it is made with.
_IMPLEMENTATIONS = {
    OURS: ("JaxConvolution", "winograd"),
    f"{OURS}_direct": ("JaxConvolution", "direct"),
    THEIRS: ("PytorchConvolution",),
}


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution of square images, padded by kernel_size // 2 pixels.

    Attributes:
      batch: images.
      size: their side in pixels.
      in_features, out_features: features before and after.
      kernel_size, stride: in pixels.
      count: how many of them the network has.
    """

    batch: int
    size: int
    in_features: int
    out_features: int
    kernel_size: int
    stride: int
    count: int

    @property
    def passes(self) -> tuple[str, ...]:
        """Those of a training step: nothing asks for the gradient of the images themselves."""
        return tuple(name for name in PASSES if self.in_features != 3 or name != PASSES[1])

    @property
    def flops(self) -> int:
        """Of any of the three passes, an addition counted apart from a multiplication."""
        pixels = self.batch * (self.size // self.stride) ** 2
        return 2 * pixels * self.kernel_size**2 * self.in_features * self.out_features

    def __str__(self) -> str:
        kernel = f"{self.kernel_size}x{self.kernel_size}" + ("/2" if self.stride == 2 else "")
        return f"{self.count} x {kernel} {self.in_features}-{self.out_features} at {self.size}"


def resnet18(width: int, batch: int, size: int) -> tuple[Convolution, ...]:
    """All convolutions of a ResNet-18 with the small stem."""
    found = [
        Convolution(batch, size, 3, width, 3, 1, 1),
        Convolution(batch, size, *[width] * 2, 3, 1, 4),
    ]
    for _ in range(3):
        found += [
            Convolution(batch, size, width, 2 * width, 3, 2, 1),
            Convolution(batch, size, width, 2 * width, 1, 2, 1),
            Convolution(batch, size // 2, 2 * width, 2 * width, 3, 1, 3),
        ]
        width, size = 2 * width, size // 2
    return tuple(found)


class JaxConvolution:
    """Times one convolution, as the network's layers compute it in a form of `CONVOLUTIONS`."""

    def __init__(self, form: str) -> None:
        self._form = form

    def load(self, shape: Convolution) -> None:
        """Compiles its three passes."""
        from skdsam_jax import runtime

        runtime.configure()
        import jax
        import jax.numpy as jnp

        from skdsam_jax.models.layers import CONVOLUTIONS

        convolve = CONVOLUTIONS[self._form]
        padding, stride = shape.kernel_size // 2, (shape.stride, shape.stride)

        def forward(images: jax.Array, kernel: jax.Array) -> jax.Array:
            return convolve(
                images,
                kernel,
                stride,
                ((padding, padding),) * 2,
                feature_group_count=1,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )

        images = jnp.ones((shape.batch, shape.size, shape.size, shape.in_features))
        kernel = jnp.ones((*[shape.kernel_size] * 2, shape.in_features, shape.out_features))
        gradient = forward(images, kernel)
        to_images = jax.jit(lambda k, g: jax.vjp(lambda x: forward(x, k), images)[1](g)[0])
        to_kernel = jax.jit(lambda x, g: jax.vjp(lambda k: forward(x, k), kernel)[1](g)[0])
        compiled = jax.jit(forward)
        self._passes = {
            "forward": lambda: jax.block_until_ready(compiled(images, kernel)),
            "input gradient": lambda: jax.block_until_ready(to_images(kernel, gradient)),
            "filter gradient": lambda: jax.block_until_ready(to_kernel(images, gradient)),
        }

    def seconds(self, name: str) -> float:
        """Of one pass."""
        return _seconds(self._passes[name])

    def describe(self) -> dict[str, Any]:
        """Hardware and versions."""
        from skdsam_jax.training.state import data_mesh
        from skdsam_jax.training.summary import describe_hardware, describe_versions

        return {"hardware": describe_hardware(data_mesh()), "versions": describe_versions()}


class PytorchConvolution:
    """Times one convolution of PyTorch's."""

    def load(self, shape: Convolution) -> None:
        """Makes its arguments."""
        import torch

        settings = {"stride": shape.stride, "padding": shape.kernel_size // 2}
        images = torch.ones(shape.batch, shape.in_features, shape.size, shape.size)
        images = images.to(memory_format=torch.channels_last).requires_grad_()
        kernel = torch.ones(shape.out_features, shape.in_features, *[shape.kernel_size] * 2)
        kernel = kernel.to(memory_format=torch.channels_last).requires_grad_()
        value = torch.nn.functional.conv2d(images, kernel, **settings)
        gradient = torch.ones_like(value)

        def gradient_of(argument: Any) -> Callable[[], Any]:
            return lambda: torch.autograd.grad(value, argument, gradient, retain_graph=True)

        self._passes = {
            "forward": lambda: torch.nn.functional.conv2d(images, kernel, **settings),
            "input gradient": gradient_of(images),
            "filter gradient": gradient_of(kernel),
        }

    def seconds(self, name: str) -> float:
        """Of one pass."""
        return _seconds(self._passes[name])

    def describe(self) -> dict[str, Any]:
        """PyTorch's version."""
        import torch

        return {"versions": {"torch": torch.__version__}}


def measure(shapes: Sequence[Convolution], repeats: int) -> dict[str, Any]:
    """Times all of them, each pass in turns.

    Returns:
      Plain values, as `--json` writes them; seconds are medians.
    """
    environment = {"JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu"}
    with contextlib.ExitStack() as stack:
        workers = {}
        for name, (target, *arguments) in _IMPLEMENTATIONS.items():
            if name == THEIRS and not importlib.util.find_spec("torch"):
                continue
            # PyTorch as its users start it.
            variables = {} if name == THEIRS else environment | as_commands_start()
            worker = Worker(f"benchmarks.convolutions:{target}", *arguments, environment=variables)
            workers[name] = stack.enter_context(worker)
        rows = [_measure(shape, workers, repeats) for shape in shapes]
        facts = [worker("describe") for worker in workers.values()]
    totals = {
        name: sum(row["count"] * sum(row["seconds"][name].values()) for row in rows)
        for name in workers
    }
    return {
        "hardware": facts[0]["hardware"],
        "versions": {name: value for fact in facts for name, value in fact["versions"].items()},
        "repeats": repeats,
        "convolutions": rows,
        "seconds_of_all": totals,
        "flops_of_all": sum(shape.count * len(shape.passes) * shape.flops for shape in shapes),
    }


def _measure(shape: Convolution, workers: Mapping[str, Worker], repeats: int) -> dict[str, Any]:
    for worker in workers.values():
        worker("load", shape)
    seconds: dict[str, dict[str, float]] = {name: {} for name in workers}
    for name in shape.passes:
        turns = [
            {key: worker("seconds", name) for key, worker in workers.items()}
            for _ in range(repeats + 1)
        ]
        for key in workers:
            seconds[key][name] = statistics.median(turn[key] for turn in turns[1:])
    return {**dataclasses.asdict(shape), "flops": shape.flops, "seconds": seconds}


def describe(result: dict[str, Any]) -> str:
    """The machine, and a table: milliseconds of each pass, GFLOP/s of all."""
    hardware = result["hardware"]
    names = list(result["seconds_of_all"])
    heads = [f"{name}: forward, input, filter, GFLOP/s" for name in names]
    lines = [
        f"{hardware['device']} ({hardware['cpu']}, {hardware['cpu_cores']} cores)",
        f"{'convolutions':28}" + "".join(f"{head:>53}" for head in heads),
    ]
    fields = [field.name for field in dataclasses.fields(Convolution)]
    for row in result["convolutions"]:
        line = f"{Convolution(*(row[field] for field in fields))!s:28}"
        for name in names:
            seconds = row["seconds"][name]
            line += "".join(
                f"{1e3 * seconds[key]:12.1f} ms" if key in seconds else f"{'-':>15}"
                for key in PASSES
            )
            line += f"{len(seconds) * row['flops'] / sum(seconds.values()) / 1e9:8.0f}"
        lines.append(line)
    for name, seconds in result["seconds_of_all"].items():
        speed = result["flops_of_all"] / seconds / 1e9
        lines.append(f"all of a step, {name}: {seconds:.3f} s, {speed:.0f} GFLOP/s")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measures, prints and, on request, writes; returns the exit code."""
    options = make_parser("convolutions", __doc__)
    add = options.add_argument
    add("--width", type=positive, default=64, help="filters of the network's first convolution")
    add("--batch_size", type=positive, default=128, help="images per step")
    add("--image_size", type=positive, default=32, help="their side in pixels")
    add("--repeats", type=positive, default=5, help="measurements of each")
    add_json(options)
    parsed = options.parse_args(arguments)
    result = measure(resnet18(parsed.width, parsed.batch_size, parsed.image_size), parsed.repeats)
    result["command"] = " ".join(["python -m benchmarks.convolutions", *arguments])
    print(describe(result))
    write_json(parsed.json, result)
    return 0


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
