"""The peers' losses against the golden files, as `check.py` compares them."""

import pathlib

import check
import jax
import numpy as np
import pytest
from comparison import Comparison

FOLDER = pathlib.Path(__file__).parent
ENTRIES = {
    name: entry
    for file in ("peers_pairs.npz", "peers_memory.npz")
    for name, entry in check.entries(FOLDER / file).items()
    if check.CHECKERS.get(name.split("/")[0], "").startswith("peer_losses:")
}


# The same code; in float64 a mistake shows more clearly.
@pytest.mark.parametrize("precision", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ENTRIES)
def test_entry(name, precision):
    with (
        jax.enable_x64(precision == "float64"),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        comparisons = check.compare(name, ENTRIES[name])
    assert all(comparison.computed.dtype == precision for comparison in comparisons)
    failed = {
        comparison.name: comparison.error for comparison in comparisons if not comparison.passes
    }
    assert not failed


def test_every_loss_of_the_peers_has_an_entry():
    methods = {name.split("/")[0] for name in ENTRIES}
    assert methods == {
        method for method, target in check.CHECKERS.items() if target.startswith("peer_losses:")
    }


@pytest.mark.parametrize(
    ("computed", "golden", "error", "passes"),
    [
        ([2.0, 4.0], [2.0, 4.0], 0.0, True),
        ([2.0, 4.2], [2.0, 4.0], 0.05, True),
        ([2.0, 4.8], [2.0, 4.0], 0.2, False),
        ([0.0, 0.0], [0.0, 0.0], 0.0, True),
        ([0.0, 1e-13], [0.0, 0.0], 1e-13, False),
        ([1e-13], [1e-300], 1e287, True),
        ([np.nan], [1.0], np.inf, False),
        ([1.0, 1.0], [1.0], np.inf, False),
    ],
)
def test_comparison(computed, golden, error, passes):
    comparison = Comparison("x", np.array(computed), np.array(golden), 0.1)
    np.testing.assert_allclose(comparison.error, error, rtol=1e-9)
    assert comparison.passes == passes


@pytest.fixture
def small_file(tmp_path):
    """A function that writes label smoothing's entry under a name, with arrays changed."""

    def write(name="label_smoothing/new", **changed):
        entry = ENTRIES["label_smoothing/all_01"] | changed
        path = tmp_path / "small.npz"
        np.savez(path, **{f"{name}/{key}": array for key, array in entry.items()})
        return path

    return write


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, "new: 4 arrays, largest error"),
        ({"out/loss": np.array(5.0)}, "out/loss: FAILED, error"),
        ({"out/grad_logits": np.zeros((6, 10))}, "out/grad_logits: FAILED, error"),
        ({"out/term_new": np.zeros(6)}, "new: FAILED, label_smoothing/new: nobody compares out/te"),
        ({"name": "unknown/new"}, "new: FAILED, unknown/new: nobody checks 'unknown'"),
        ({"name": "ddgsd_reference/new"}, "new: not compared, another code's value"),
    ],
)
def test_check_says_what_fails(small_file, capsys, written, message):
    with jax.enable_x64(True):
        passed = check.check(small_file(**written))
    output = capsys.readouterr().out
    assert message in output
    assert passed == ("FAILED" not in output)
    assert output.endswith("passed\n" if passed else "FAILED\n")
