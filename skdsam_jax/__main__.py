"""The commands: `skdsam COMMAND ...`, each a module of `skdsam_jax.commands`.

`python -m skdsam_jax COMMAND ...` is the same, without anything installed.
"""

import importlib
import sys

from skdsam_jax import allocator, runtime
from skdsam_jax.options import known

# Name to what it is for; the module of that name has `main(arguments) -> exit code`.
COMMANDS = {
    "train": "train a classifier, or go on training it",
    "prepare": "download and prepare a data set",
    "preview": "draw what a network sees of the training images",
    "sweep": "train every cell of a table",
    "report": "make the page of results from finished runs",
    "evaluate": "measure a finished run: every exit, early exits, calibration, corruptions",
    "predict": "classify pictures with the network of a run",
    "export": "write the network of a run as StableHLO, safetensors or ONNX",
}


def start() -> int:
    """`main` as a process of its own, with the allocator that suits training."""
    allocator.restart_with_tcmalloc()
    return main()


def main() -> int:
    """Runs the command that the first argument names; returns its exit code."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h"):
        print("usage: skdsam COMMAND [--help], or python -m skdsam_jax COMMAND [--help]\n")
        print("\n".join(f"  {command:<8}  {what}" for command, what in COMMANDS.items()))
        return 0
    if name not in COMMANDS:
        print(f"error: unknown command {name!r}; {known(name, COMMANDS)}", file=sys.stderr)
        return 2
    runtime.configure()
    return importlib.import_module(f"skdsam_jax.commands.{name}").main(arguments)


if __name__ == "__main__":
    sys.exit(start())
