"""The command measures every augmentation that a config can ask for."""

import dataclasses
import json

import pytest

from benchmarks.augmentation import CASES, main
from skdsam_jax.data import DataOptions


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path, capsys):
    file = tmp_path / "result.json"
    assert main(["--batch_size=4", "--repeats=1", f"--json={file}"]) == 0
    measured = json.loads(file.read_text())["milliseconds"]
    assert list(measured) == list(CASES)
    assert all(value > 0 for value in measured.values())
    assert capsys.readouterr().out.count(" ms ") == len(CASES)


def test_every_distortion_is_among_them():
    asked = [DataOptions(name="cifar100", **fields) for _, _, fields in CASES.values()]
    for field in (
        "crop",
        "crop_padding",
        "flip",
        "autoaugment",
        "cutout",
        "mixup_alpha",
        "cutmix_alpha",
    ):
        assert len({dataclasses.asdict(options)[field] for options in asked}) > 1, field
