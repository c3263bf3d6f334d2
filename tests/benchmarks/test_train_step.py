"""The command that times the training step; no test looks at a time."""

import importlib.util
import json
import math
import pathlib
import subprocess
import sys

import pytest
from patience import HANGING

from benchmarks import train_step

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path):
    file = tmp_path / "result.json"
    size = ["--width", "4", "--batch_size", "8", "--examples", "16", "--image_size", "8"]
    effort = ["--method", "cross_entropy", "--repeats", "1", "--steps", "1"]
    effort += ["--convolution", "winograd", "direct"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train_step", *size, *effort, "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGING,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    measured = result["methods"]["cross_entropy"]
    expected = {"skdsam_jax", "skdsam_jax_direct"}
    if importlib.util.find_spec("torch"):
        expected |= {"pytorch_eager"}
        assert measured["agreement"]["gradient"] < 1e-6
        assert list(result["ratios"])[1:] == ["cross_entropy: skdsam_jax over pytorch_eager"]
    assert next(iter(result["ratios"])) == "cross_entropy: skdsam_jax over skdsam_jax_direct"
    assert set(measured["implementations"]) == expected
    for numbers in measured["implementations"].values():
        assert all(math.isfinite(n) and n > 0 for n in (numbers["images_per_second"],
            numbers["share_of_matrix_peak"], numbers["peak_memory_bytes"]))  # fmt: skip
        assert len(numbers["seconds_per_step"]) == 1
    assert "images/s" in done.stdout


def test_flops_are_those_of_the_network():
    """Of a ResNet-18: 0.556 G multiply-adds forward, twice that backward, 2 FLOP each."""
    from benchmarks.jax_training import JaxTraining
    from benchmarks.settings import Settings

    settings = Settings(method="cross_entropy", batch_size=4, examples=4, convolution="direct")
    flops = JaxTraining(settings).trainer.lower().cost_analysis()["flops"] / 4
    # Padding makes it fewer; the update of 11 million parameters, for 4 images, makes it more.
    assert flops == pytest.approx(3 * 2 * 0.556e9, rel=0.15)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (["--method", "nothing"], "invalid choice: 'nothing'"),
        (["--batch_size", "0"], "argument --batch_size: invalid"),
    ],
)
def test_a_mistake_ends_in_one_line(flag, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        train_step.main(flag)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_pytorch_that_is_not_installed_is_asked_for(capsys):
    with pytest.raises(SystemExit):
        train_step.main(["--pytorch", "eager"])
    assert "PyTorch is not installed" in capsys.readouterr().err
