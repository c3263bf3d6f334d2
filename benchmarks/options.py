"""What the commands' options have in common."""

import argparse
import json
import pathlib
from typing import Any


def make_parser(name: str, description: str, **settings: Any) -> argparse.ArgumentParser:
    """A parser for `python -m benchmarks.NAME`, which says what the module's docstring says."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **settings,
    )


def positive(text: str) -> int:
    """A whole number of at least 1, for `argparse`."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


# What argparse calls a value that it refuses.
positive.__name__ = "whole number above 0"


def add_json(options: argparse.ArgumentParser) -> None:
    """The option --json."""
    options.add_argument("--json", metavar="FILE", help="write what was measured")


def write_json(file: str | None, result: dict[str, Any]) -> None:
    """Writes a result where --json asked for it."""
    if file:
        pathlib.Path(file).write_text(json.dumps(result, indent=2) + "\n")
