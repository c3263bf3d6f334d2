"""The peers' networks against their authors', in float64."""

import importlib
import pathlib
import sys

import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
sys.path.append(str(GOLDEN))

peer_networks = importlib.import_module("peer_networks")
CHECKS = {
    "frskd_bifpnc": peer_networks.check_frskd_bifpnc,
    "mixskd_heads": peer_networks.check_mixskd_heads,
}


def entries():
    """The arrays of each METHOD/VARIANT under their names within it."""
    grouped = {}
    with np.load(GOLDEN / "peers_pairs.npz") as file:
        for key in file.files:
            method, variant, name = key.split("/", 2)
            if method in CHECKS:
                grouped.setdefault(f"{method}/{variant}", {})[name] = file[key]
    return grouped


ENTRIES = entries()


def test_every_network_has_entries():
    assert {name.split("/")[0] for name in ENTRIES} == set(CHECKS)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name.endswith("/default") else pytest.mark.slow)
        for name in ENTRIES
    ],
)
def test_matches_the_golden_network(name):
    entry = ENTRIES[name]
    comparisons = list(CHECKS[name.split("/")[0]](entry))
    assert {comparison.name for comparison in comparisons} == {
        key for key in entry if key.startswith("out/")
    }
    assert all(comparison.computed.dtype == np.float64 for comparison in comparisons)
    failed = {
        comparison.name: comparison.error for comparison in comparisons if not comparison.passes
    }
    assert not failed
