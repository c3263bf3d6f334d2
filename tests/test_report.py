"""Tables of runs: what shares a row, and that every number comes from a file."""

import copy
import json
import statistics

import pytest

from skdsam_jax.cells import use_cell
from skdsam_jax.config import default_config, from_config_dict, to_dict
from skdsam_jax.report import main


@pytest.fixture
def summary():
    return {
        "method": "skdsam",
        "model": "resnet18",
        "dataset": "digits",
        "seed": 0,
        "finished": True,
        "test_accuracy": 0.75,
        "best_test_accuracy": 0.8,
        "exit_accuracies": [0.25, 0.5, 0.6, 0.75],
        "ensemble_accuracy": 0.7,
        "attention_weights": [0.5, 0.25, 0.25],
        "attention_entropy": 1.0397,
        "images_per_second": 123.4,
        "parameters": 1000,
        "config": to_dict(from_config_dict(default_config())),
        "versions": {"jax": "1.2.3"},
        "hardware": {"device": "cpu", "devices": 1, "cpu": "a CPU"},
    }


def _write(folder, *summaries):
    for number, summary in enumerate(summaries):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "summary.json").write_text(json.dumps(summary))


def _rows(page):
    return [line for line in page.splitlines() if line.startswith("| skdsam")]


def test_seeds_share_a_row_with_mean_and_deviation(tmp_path, summary):
    accuracies = [0.75, 0.76, 0.80]
    runs = []
    for seed, accuracy in enumerate(accuracies):
        run = copy.deepcopy(summary) | {"seed": seed, "test_accuracy": accuracy}
        run["config"]["seed"] = seed
        runs.append(run)
    _write(tmp_path, *runs)
    assert main([str(tmp_path), "--out", str(tmp_path / "page.md")]) == 0
    (row,) = _rows((tmp_path / "page.md").read_text())
    mean, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
    assert f"| 3 | {100 * mean:.2f} ± {100 * deviation:.2f} |" in row
    assert "25.00 50.00 60.00 75.00" in row
    assert "0.500 0.250 0.250 (1.0397)" in row


def test_another_config_is_another_row_that_names_it(tmp_path, summary, capsys):
    other = copy.deepcopy(summary)
    other["config"]["method"]["energy"] = "dot"
    _write(tmp_path, summary, other)
    assert main([str(tmp_path)]) == 0
    rows = _rows(capsys.readouterr().out)
    assert len(rows) == 2
    assert sum("skdsam (energy=dot)" in row for row in rows) == 1
    assert all("| 1 | 75.00 |" in row for row in rows)


def test_a_row_names_its_recipe(tmp_path, summary, capsys):
    cells = ("", "recipe=lab", "augment=cutout", "augment=mixup,recipe=lab")
    runs = []
    for cell in cells:
        config = default_config()
        use_cell(config, cell)
        described = json.loads(json.dumps(to_dict(from_config_dict(config))))
        runs.append(summary | {"config": described})
    runs.append(copy.deepcopy(summary))
    runs[-1]["config"]["data"]["crop_fill"] = 7
    runs.append(copy.deepcopy(summary))
    runs[-1]["config"]["data"] |= {"cutout": "mean", "mixup_alpha": 0.2}
    # A summary of a version that had no augmentation but crop and flip.
    runs.append(copy.deepcopy(summary))
    runs[-1]["config"]["data"] = {"name": "digits", "crop_padding": 4, "flip": True}
    _write(tmp_path, *runs)
    assert main([str(tmp_path)]) == 0
    recipes = [row.split(" | ")[2].split(",")[0] for row in _rows(capsys.readouterr().out)]
    assert sorted(recipes) == [
        *("lab", "lab + mixup", "own recipe"),
        *("thesis", "thesis", "thesis + cutout", "thesis + cutout + mixup"),
    ]


def test_one_exit_has_no_attention(tmp_path, summary, capsys):
    _write(tmp_path, summary | {"attention_weights": None, "attention_entropy": None})
    assert main([str(tmp_path)]) == 0
    assert "|  |" in _rows(capsys.readouterr().out)[0]


def test_a_run_too_short_to_be_timed_has_no_rate(tmp_path, summary, capsys):
    _write(tmp_path, summary | {"images_per_second": None})
    assert main([str(tmp_path)]) == 0
    assert "| 80.00 |  | 1 x cpu" in _rows(capsys.readouterr().out)[0]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"finished": false}'])
def test_no_finished_run_is_one_line(tmp_path, capsys, text):
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    assert main([str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
