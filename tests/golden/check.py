"""Compares a golden file of another project's values with this library, in float64.

    python tests/golden/check.py tests/golden/peers_memory.npz

Prints the largest error of each entry, relative to the largest golden value of an array, and exits
with 1 if an array is beyond its tolerance, if an entry holds an array nobody compares, or if nobody
checks the entry. Seeds, shapes and parameters are read from the file.
"""

import argparse
import functools
import importlib
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from comparison import Comparison

Entry = Mapping[str, np.ndarray]
Checker = Callable[[Entry], Iterator[Comparison]]

# Method -> the module and function that compare an entry, imported when one is met.
CHECKERS = {
    **{
        method: f"peer_losses:check_{method}"
        for method in (
            "bake",
            "cs_kd",
            "ddgsd",
            "dks",
            "dlb",
            "end2",
            "feed",
            "frskd",
            "label_smoothing",
            "lightskd",
            "mixskd",
            "msd",
            "nkd",
            "okddip",
            "ps_kd",
            "sad",
            "sla_sd",
            "tf_kd_reg",
            "uskd",
            "zipf",
        )
    },
    **{
        module: f"attention_networks:check_{module}"
        for module in (
            "dia_basic",
            "dia_bottleneck",
            "dia_unit",
            "sa_pairwise3",
            "sa_pairwise7",
            "sa_patchwise3",
            "sa_patchwise7",
            "san_pairwise",
            "san_patchwise",
        )
    },
    "frskd_bifpnc": "peer_networks:check_frskd_bifpnc",
    "mixskd_heads": "peer_networks:check_mixskd_heads",
}

# Values of other people's code that differ from the equations by intent.
DOCUMENTATION = {"ddgsd_reference": "another code's value, no contract"}

# Where the name of an entry ends: METHOD/VARIANT/in/NAME, but MODULE/in/NAME.
_KINDS = {"in", "out", "grad", "param", "parameters"}


def entries(path: pathlib.Path | str) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of a golden file by entry, their names without that of the entry."""
    grouped: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as file:
        for key in file.files:
            parts = key.split("/")
            length = next((i for i, part in enumerate(parts) if part in _KINDS), 0)
            if not length:
                raise ValueError(f"{path}: {key!r} belongs to no entry")
            name = "/".join(parts[:length])
            grouped.setdefault(name, {})["/".join(parts[length:])] = file[key]
    return grouped


def compare(name: str, entry: Entry) -> list[Comparison]:
    """Every comparison of an entry; raises a ValueError if nobody makes it, or leaves arrays."""
    method = name.split("/")[0]
    if method not in CHECKERS:
        raise ValueError(f"{name}: nobody checks {method!r}; known are {', '.join(CHECKERS)}")
    comparisons = list(_checker(CHECKERS[method])(entry))
    expected = {key for key in entry if key.split("/")[0] in {"out", "grad"}}
    missing = expected - {comparison.name for comparison in comparisons}
    if missing or not comparisons:
        raise ValueError(f"{name}: nobody compares {', '.join(sorted(missing)) or 'anything'}")
    return comparisons


@functools.cache
def _checker(target: str) -> Checker:
    module, function = target.split(":")
    return getattr(importlib.import_module(module), function)


def check(path: pathlib.Path | str) -> bool:
    """Prints a line for each entry of a file, and one for each array that fails."""
    passed = True
    for name, entry in entries(path).items():
        if note := DOCUMENTATION.get(name.split("/")[0]):
            print(f"{name}: not compared, {note}")
            continue
        try:
            comparisons = compare(name, entry)
        except (ImportError, ValueError) as error:
            print(f"{name}: FAILED, {error}")
            passed = False
            continue
        worst = max(comparisons, key=lambda comparison: comparison.error / comparison.tolerance)
        print(f"{name}: {len(comparisons)} arrays, largest error {worst.error:.1e} ({worst.name})")
        for comparison in comparisons:
            if not comparison.passes:
                print(
                    f"  {comparison.name}: FAILED, error {comparison.error:.1e} beyond "
                    f"{comparison.tolerance:.0e}"
                )
                passed = False
    print("passed" if passed else "FAILED")
    return passed


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=pathlib.Path, help="a golden file, *.npz")
    arguments = parser.parse_args()
    # A clone that is not installed must find its own package.
    sys.path.append(str(pathlib.Path(__file__).parents[2]))
    jax.config.update("jax_enable_x64", True)
    return 0 if check(arguments.file) else 1


if __name__ == "__main__":
    sys.exit(main())
