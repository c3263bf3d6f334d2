"""The command measures a folder of photographs and refuses what is none."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.streaming import main


@pytest.fixture
def photographs(tmp_path):
    random = np.random.default_rng(0)
    for number in range(8):
        for split in ("train", "test"):
            folder = tmp_path / "photographs" / split / f"class{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photographs"


def test_the_command_writes_what_it_measured(photographs, tmp_path, capsys):
    file = tmp_path / "result.json"
    flags = ["--image_size=8", "--batch_size=4", "--repeats=1", f"--json={file}"]
    assert main([f"--data_dir={photographs}", *flags]) == 0
    result = json.loads(file.read_text())
    assert (result["images"], result["mean_width"], result["mean_height"]) == (8, 30, 20)
    parts = result["milliseconds_per_image"]
    assert all(value > 0 for value in parts.values())
    rate = result["training_images_per_second_and_core"]
    assert f"{rate:.0f} training images a second and core" in capsys.readouterr().out


def test_a_folder_without_photographs_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main([f"--data_dir={tmp_path}"])
    assert error.value.code == 2
    assert f"there is no {tmp_path}/train" in capsys.readouterr().err.splitlines()[-1]
