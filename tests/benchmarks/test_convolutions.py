"""The list of convolutions is the network's own, and the command writes what it measured."""

import importlib.util
import json

import jax
import pytest
from flax import nnx

from benchmarks.convolutions import main, resnet18
from skdsam_jax.models import create_backbone


def test_the_convolutions_are_those_of_the_network():
    backbone = create_backbone("resnet18", width=4, rngs=nnx.Rngs(0))
    kernels = [
        leaf.shape for leaf in jax.tree.leaves(nnx.state(backbone, nnx.Param)) if leaf.ndim == 4
    ]
    listed = [
        (shape.kernel_size, shape.kernel_size, shape.in_features, shape.out_features)
        for shape in resnet18(width=4, batch=2, size=8)
        for _ in range(shape.count)
    ]
    assert sorted(listed) == sorted(kernels)


def test_their_arithmetic_is_that_of_the_network():
    """0.56 billion multiplications per image, which the literature gives for this ResNet-18."""
    shapes = resnet18(width=64, batch=1, size=32)
    assert sum(shape.count * shape.flops for shape in shapes) / 2 == pytest.approx(
        0.556e9, rel=2e-3
    )


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path, capsys):
    file = tmp_path / "result.json"
    flags = "--width 4 --batch_size 2 --image_size 8 --repeats 2 --json"
    assert main([*flags.split(), str(file)]) == 0
    result = json.loads(file.read_text())
    expected = {"skdsam_jax", "skdsam_jax_direct"} | (
        {"pytorch"} if importlib.util.find_spec("torch") else set()
    )
    assert set(result["seconds_of_all"]) == expected
    assert len(result["convolutions"]) == 11
    assert all(
        row["seconds"]["skdsam_jax"]["filter gradient"] > 0 for row in result["convolutions"]
    )
    assert "all of a step, skdsam_jax" in capsys.readouterr().out
