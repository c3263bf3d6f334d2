"""Fills in what code and measurements know in docs/methods.md: `python -m benchmarks.methods_doc`.

The table of that page is between two comments. Its columns of `COLUMNS`, and the line below it, are
written anew from the methods themselves and from what `benchmarks.methods` measured; everything
else stays as it is. A test compares the page with what this command would write.
"""

import functools
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.options import make_parser
from skdsam_jax.methods import METHODS, Method, TrainingSet, create_method, find_method
from skdsam_jax.models import create_backbone, initialize

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"
MEASURED = ROOT / "results" / "benchmarks" / "methods_cpu.json"

BEGIN = "<!-- partly made by python -m benchmarks.methods_doc -->\n"
END = "<!-- end -->\n"

COLUMNS = ("images a step", "extra parameters", "remembers", "cost of a step")

# What the page's numbers are for: CIFAR-100 in batches of 128.
_EXAMPLES, _CLASSES, _BATCH = 50_000, 100, 128


def rewrite(page: str, measured: Mapping[str, Any] | None) -> str:
    """The page with the columns of `COLUMNS`, and the line below the table, made anew.

    Args:
      page: text that holds the table, a row for each method.
      measured: a result of `benchmarks.methods`; None: there is none.

    Raises:
      ValueError: the page has no such table, or its rows are not the methods.
    """
    before, begin, rest = page.partition(BEGIN)
    table, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no lines {BEGIN.strip()} and {END.strip()}")
    header, rule, *rows = (line for line in table.splitlines() if line.startswith("|"))
    titles = _cells(header)
    names = [_cells(row)[0].strip("`") for row in rows]
    if sorted(names) != sorted(METHODS):
        raise ValueError(f"the rows are not the methods: {sorted({*names} ^ {*METHODS})}")
    lines = [header, rule]
    for name, row in zip(names, rows, strict=True):
        cells = dict(zip(titles, _cells(row), strict=True))
        cells |= dict(zip(COLUMNS, _facts(name, measured), strict=True))
        lines.append(f"| {' | '.join(cells.values())} |")
    table = "\n".join([*lines, "", _describe(measured), ""])
    return before + begin + table + end + after


def load_measured(file: pathlib.Path = MEASURED) -> dict[str, Any] | None:
    """What was measured; None where nothing was."""
    return json.loads(file.read_text()) if file.is_file() else None


def extra_parameters(name: str) -> int:
    """What a method trains beside the classifier: ResNet-18, 100 classes."""
    return _parameters(name) - _parameters("cross_entropy")


def memory_bytes(name: str) -> int:
    """What a method keeps from step to step: CIFAR-100, batches of 128."""
    labels = jax.ShapeDtypeStruct((_EXAMPLES,), jnp.int32)
    memory = jax.eval_shape(
        lambda labels: _method(name).initial_memory(TrainingSet(labels, _CLASSES, _BATCH)), labels
    )
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(memory))


def main(arguments: Sequence[str]) -> int:
    """Rewrites docs/methods.md; returns the exit code."""
    make_parser("methods_doc", __doc__).parse_args(arguments)
    PAGE.write_text(rewrite(PAGE.read_text(), load_measured()))
    return 0


@functools.cache
def _method(name: str) -> Method:
    """Nothing is allocated."""
    # To build one that distils takes a finished run, and nothing of that is trained or kept.
    name = "cross_entropy" if name == "knowledge_distillation" else name
    options = find_method(name).Options()

    def build(rngs: nnx.Rngs) -> Method:
        return create_method(options, create_backbone("resnet18", rngs=rngs), _CLASSES, rngs=rngs)

    return nnx.eval_shape(lambda: initialize(build, 0))


@functools.cache
def _parameters(name: str) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(_method(name), nnx.Param)))


def _facts(name: str, measured: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The cells of `COLUMNS`."""
    images = find_method(name).images_per_anchor(find_method(name).Options())
    memory = memory_bytes(name)
    cost = (measured or {"methods": {}})["methods"].get(name)
    return (
        "B" if images == 1 else f"{images} B",
        f"{extra_parameters(name):,}",
        f"{memory / 1e6:.2f} MB" if memory else "",
        f"{cost['cost']['median']:.2f}" if cost else "",
    )


def _describe(measured: Mapping[str, Any] | None) -> str:
    """The line below the table: where costs come from."""
    if measured is None:
        return "The cost of a step has not been measured yet."
    settings, hardware = measured["settings"], measured["hardware"]
    return (
        f"Costs: `{measured['command']}`, {settings['model']} of width {settings['width']}, "
        f"{settings['batch_size']} anchors a step, {settings['image_size']} pixels, "
        f"{settings['compute_dtype']}, {settings['convolution']} convolutions, "
        f"medians of {settings['repeats']} turns; "
        f"{hardware['device']} ({hardware['cpu']}, {hardware['cpu_cores']} cores), "
        f"jax {measured['versions']['jax']}."
    )


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
