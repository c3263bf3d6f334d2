"""DIANet's cells and networks: against their authors' code, and against a ResNet."""

import pathlib
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from families import TINY, abstract, abstract_backbone, abstract_stages, count
from flax import nnx
from steps import check_method_attaches, check_step

from skdsam_jax.models import initialize
from skdsam_jax.models.dianet import DIALSTM

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
sys.path.append(str(GOLDEN))

import check  # noqa: E402

ENTRIES = {
    name: entry
    for name, entry in check.entries(GOLDEN / "attention_networks.npz").items()
    if name.startswith("dia_")
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "dia_unit" else pytest.mark.slow) for name in ENTRIES],
)
def test_matches_the_golden_network(name):
    comparisons = check.compare(name, ENTRIES[name])
    assert all(comparison.computed.dtype == np.float64 for comparison in comparisons)
    failed = {
        comparison.name: comparison.error for comparison in comparisons if not comparison.passes
    }
    assert not failed


def test_every_entry_is_here():
    assert set(ENTRIES) == {"dia_unit", "dia_bottleneck", "dia_basic"}


@pytest.mark.parametrize(
    ("features", "parameters"),
    [(64, 10_784), (128, 42_048), (256, 166_016), (512, 659_712), (2048, 10_503_168)],
)
def test_cells_have_the_published_size(features, parameters):
    assert count(abstract(lambda rngs: DIALSTM(features, rngs=rngs))) == parameters


def test_the_reduction_is_an_option():
    """10 C m + 2 m + 8 C for each stage of C features, of which its maps keep m."""
    plain = count(abstract_backbone("resnet18", width=8))
    cells = count(abstract_backbone("dia_resnet18", width=8, dia_reduction=3)) - plain
    sizes = [(8, 2), (16, 5), (32, 10), (64, 21)]
    assert cells == sum(10 * c * m + 2 * m + 8 * c for c, m in sizes)


def test_a_gate_begins_at_a_quarter():
    """So branches of a fresh network are scaled alike, whatever the image."""
    cell = initialize(lambda rngs: DIALSTM(256, rngs=rngs), 0)
    pooled = jnp.asarray(np.random.default_rng(0).normal(size=(4, 256)), jnp.float32)
    gate, _ = cell(pooled, cell.start(jnp.float32))
    np.testing.assert_allclose(gate.mean(), 0.25, atol=0.01)
    assert gate.std() < 0.05


def test_the_stages_are_shaped_like_those_of_a_resnet():
    gated, plain = (abstract_backbone(name, width=8) for name in ("dia_resnet50", "resnet50"))
    assert abstract_stages(gated, (16, 16))[0] == abstract_stages(plain, (16, 16))[0]
    for name in ("channels", "depths", "reductions", "bottleneck_width", "preactivation"):
        assert getattr(gated, name) == getattr(plain, name)


def test_a_copied_stage_has_a_cell_of_its_own():
    def build(rngs):
        backbone = TINY["dianet"](rngs=rngs)
        return nnx.List([backbone, backbone.branch(1, rngs=rngs)])

    backbone, branch = abstract(build)
    assert count(branch) == count(backbone.stages[-1])
    assert count(nnx.List([backbone, branch])) == count(backbone) + count(branch)


@pytest.mark.parametrize("method", ["msd", "skdsam", "byot", "okddip"])
def test_methods_attach(method):
    """Heads of every kind read its stages, and copies of these."""
    check_method_attaches(method, lambda rngs: TINY["dianet"](rngs=rngs))


def test_step():
    check_step(lambda rngs: TINY["dianet"](rngs=rngs))
