"""Fills in what was measured in docs/performance.md: `python -m benchmarks.performance_doc`.

Between `<!-- goals -->` and `<!-- end -->` stands a table of `GOALS`, and between `<!-- printed
FILE -->` and `<!-- end -->` what the command that wrote that file prints of it; a pattern such as
`scaling_tpu_*.json` stands for the rows of several. Both are written anew from
`results/benchmarks`; everything else stays as it is. A test compares the page with what this
command would write.
"""

import functools
import json
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks import convolutions, report, rounding, scaling, topology
from benchmarks.options import make_parser

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "results" / "benchmarks"

_BLOCK = re.compile(r"(<!-- (goals|printed \S+) -->\n).*?(<!-- end -->\n)", re.DOTALL)

_TRAINING = "train_step_cpu.json"
_CHOICES = "train_step_choices_cpu.json"
_WIDE = "train_step_wrn16_2_cpu.json"
_DIGITS = "startup_digits_cpu.json"
_CIFAR100 = "startup_cifar100_cpu.json"


class Goal(NamedTuple):
    """What was aimed at, and where it was measured.

    Attributes:
      words: what is measured.
      file: of `results/benchmarks`.
      read: takes the number out of what is in the file.
      at_least: what is aimed at; None: nothing, or `at_most`.
      at_most: what is aimed at; None: nothing, or `at_least`.
      form: of the number, as `str.format` takes it.
    """

    words: str
    file: str
    read: Callable[[Mapping[str, Any]], float]
    at_least: float | None = None
    at_most: float | None = None
    form: str = "{:.2f}"

    def row(self, results: pathlib.Path) -> str:
        """A row of the table; a number that fell short stands in bold."""
        file = results / self.file
        shown = "not measured yet"
        if file.is_file():
            number = self.read(json.loads(file.read_text()))
            short = self.at_least is not None and number < self.at_least
            short |= self.at_most is not None and number > self.at_most
            shown = self.form.format(number)
            shown = f"**{shown}**" if short else shown
        return f"| {self.words} | {self._aim()} | {shown} | `{self.file}` |"

    def _aim(self) -> str:
        for words, aim in (("at least", self.at_least), ("at most", self.at_most)):
            if aim is not None:
                return f"{words} {self.form.format(aim)}"
        return ""


def _ratio(name: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda result: result["ratios"][name]["median"]


def _implementation(
    result: Mapping[str, Any], name: str, method: str = "cross_entropy"
) -> Mapping[str, Any]:
    return result["methods"][method]["implementations"][name]


def _over(number: str, name: str, method: str) -> Callable[[Mapping[str, Any]], float]:
    """A number of this library's step over that of another implementation."""
    return lambda result: (
        _implementation(result, "skdsam_jax", method)[number]
        / _implementation(result, name, method)[number]
    )


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _of_start(
    name: str, file: str, *, cold: float | None = None, warm: float | None = None
) -> tuple[Goal, Goal]:
    """A run's first step, in seconds: without any cache, and as it is from then on."""
    goal = functools.partial(Goal, file=file, form="{:.1f} s")
    return (
        goal(
            f"{name}, command to first step, no caches",
            read=lambda result: result["cold_seconds"],
            at_most=cold,
        ),
        goal(
            f"{name}, the second time",
            read=lambda result: _middle(result["warm_seconds"]),
            at_most=warm,
        ),
    )


def _against_choices(name: str, method: str, file: str) -> Iterator[Goal]:
    """A step against what it would be with other choices, in speed, memory and compilation."""
    direct, default = "skdsam_jax_direct", "skdsam_jax_default_allocator"
    for other, words in (
        (direct, "direct convolutions"),
        (default, "the C library's allocator"),
    ):
        ratio = _ratio(f"{method}: skdsam_jax over {other}")
        yield Goal(f"{name}, speed over that with {words}", file, ratio)
    for number, other, words, most in (
        ("peak_memory_bytes", default, "memory over that with the C library's allocator", 1.3),
        ("peak_memory_bytes", direct, "memory over that with direct convolutions", None),
        ("compile_seconds", direct, "compilation over that of direct convolutions", 1.5),
    ):
        read = _over(number, other, method)
        yield Goal(f"{name}, {words}", file, read, at_most=most)


def _against_pytorch(name: str, method: str, file: str, least: float) -> Goal:
    ratio = _ratio(f"{method}: skdsam_jax over pytorch_eager")
    return Goal(f"{name}, speed over PyTorch", file, ratio, least)


def _against_tcmalloc(name: str, method: str, file: str) -> Goal:
    ratio = _ratio(f"{method}: skdsam_jax over pytorch_eager_tcmalloc")
    return Goal(f"{name}, speed over PyTorch with TCMalloc", file, ratio)


GOALS = (
    _against_pytorch("cross-entropy", "cross_entropy", _TRAINING, 1.1),
    _against_pytorch("cross-entropy again", "cross_entropy", _CHOICES, 1.1),
    _against_tcmalloc("cross-entropy", "cross_entropy", _CHOICES),
    _against_pytorch("SKDSAM", "skdsam", _TRAINING, 1.1),
    Goal(
        "SKDSAM's step over cross-entropy's",
        _TRAINING,
        lambda result: 1 / _ratio("skdsam_jax: skdsam over cross_entropy")(result),
        at_most=1.10,
    ),
    *_against_choices("cross-entropy", "cross_entropy", _CHOICES),
    *(
        Goal(
            f"{name}, memory over PyTorch's",
            _TRAINING,
            _over("peak_memory_bytes", "pytorch_eager", method),
        )
        for name, method in (("cross-entropy", "cross_entropy"), ("SKDSAM", "skdsam"))
    ),
    Goal(
        "gathering and distorting a batch, of the step",
        _TRAINING,
        lambda result: _implementation(result, "skdsam_jax")["input_share"],
        at_most=0.03,
        form="{:.2%}",
    ),
    _against_pytorch("WRN-16-2, cross-entropy", "cross_entropy", _WIDE, 1.0),
    _against_pytorch("WRN-16-2, SKDSAM", "skdsam", _WIDE, 1.0),
    *(
        goal
        for name, method in (("cross-entropy", "cross_entropy"), ("SKDSAM", "skdsam"))
        for goal in (
            _against_tcmalloc(f"WRN-16-2, {name}", method, _WIDE),
            *_against_choices(f"WRN-16-2, {name}", method, _WIDE),
        )
    ),
    *_of_start("digits", _DIGITS, cold=15, warm=5),
    _of_start("digits, before both choices", "startup_digits_before_cpu.json")[0],
    *_of_start("CIFAR-100", _CIFAR100, cold=30, warm=15),
    _of_start("CIFAR-100, before both choices", "startup_cifar100_before_cpu.json")[0],
    Goal(
        "`import skdsam_jax.losses`, beyond `import jax`",
        _DIGITS,
        lambda result: result["import_seconds"]["skdsam_jax.losses over jax"],
        at_most=0.3,
        form="{:.2f} s",
    ),
)


def rewrite(page: str, results: pathlib.Path = RESULTS) -> str:
    """The page with its blocks made anew.

    Args:
      page: text with the comments of above.
      results: the folder of the files.

    Raises:
      ValueError: a block prints a file that is not there, or of a kind that nothing prints.
    """

    def fill(block: re.Match) -> str:
        begin, kind, end = block.groups()
        text = _table(results) if kind == "goals" else _printed(results, kind.split()[1])
        return f"{begin}{text}{end}"

    return _BLOCK.sub(fill, page)


def main(arguments: Sequence[str]) -> int:
    """Rewrites docs/performance.md; returns the exit code."""
    make_parser("performance_doc", __doc__).parse_args(arguments)
    PAGE.write_text(rewrite(PAGE.read_text()))
    return 0


def _table(results: pathlib.Path) -> str:
    rows = "\n".join(goal.row(results) for goal in GOALS)
    return f"| | aimed at | measured | file |\n|---|---|---|---|\n{rows}\n"


def _printed(results: pathlib.Path, pattern: str) -> str:
    files = sorted(results.glob(pattern))
    if not files:
        raise ValueError(f"the page prints {pattern}, which is not in {results}")
    contents = {file.name: json.loads(file.read_text()) for file in files}
    for start, describe in _PRINTERS.items():
        if pattern.startswith(start):
            return f"```\n{describe(contents)}\n```\n"
    raise ValueError(f"the page prints {pattern}, and nothing here knows how: see _PRINTERS")


def _only(describe: Callable[[Any], str]) -> Callable[[Mapping[str, Any]], str]:
    """`describe` of the one file there is."""

    def describe_file(files: Mapping[str, Any]) -> str:
        (content,) = files.values()
        return describe(content)

    return describe_file


def _devices(result: Mapping[str, Any]) -> str:
    return "\n".join([scaling.HEADER, *map(scaling.line, result["programs"])])


_PRINTERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "train_step": _only(report.describe),
    "convolutions": _only(convolutions.describe),
    "rounding": _only(rounding.describe),
    "scaling_tpu": topology.table,
    "scaling": _only(_devices),
}
"""What shows files whose name begins so, given by name; the first that fits."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
