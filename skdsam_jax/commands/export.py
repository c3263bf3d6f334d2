"""Writes the network of a run for others: StableHLO, safetensors or ONNX.

    skdsam export runs/digits --format onnx

docs/interchange.md has the formats, and what travels with them.
"""

import argparse
import pathlib
from collections.abc import Sequence

from skdsam_jax.commands import command_line
from skdsam_jax.interchange import FORMATS, export
from skdsam_jax.trained import load


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="skdsam export", description=__doc__.partition("\n")[0])
    parser.add_argument("workdir", type=pathlib.Path, help="the run's folder")
    parser.add_argument("--format", choices=FORMATS, required=True)
    command_line.add_which(parser)
    parser.add_argument(
        "--out", type=pathlib.Path, metavar="FILE", help="default: WORKDIR/network.FORMAT"
    )
    options = parser.parse_args(arguments)
    return command_line.run(lambda: _export(options))


def _export(options: argparse.Namespace) -> None:
    trained = load(options.workdir, options.which, dtype="float32")
    out = options.out or options.workdir / f"network.{options.format}"
    written = export(trained, options.format, out)
    for file in written:
        print(f"{file}: {file.stat().st_size:,} bytes")
