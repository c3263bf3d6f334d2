"""Runs as their files tell of them, made up."""

import copy
import json

import pytest

from skdsam_jax.experiment.config import default_config, from_config_dict, to_dict


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
        "aggregated_accuracy": None,
        "attention_weights": [0.5, 0.25, 0.25],
        "attention_entropy": 1.0397,
        "images_per_second": 123.4,
        "parameters": 1000,
        "config": to_dict(from_config_dict(default_config())),
        "versions": {"jax": "1.2.3"},
        "hardware": {"device": "cpu", "devices": 1, "cpu": "a CPU"},
    }


@pytest.fixture
def write(tmp_path, summary):
    """Writes a run of a seed, its fields changed, and its history; returns the folder of all."""

    def write_run(name, seed, history=(), **changes):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        run = copy.deepcopy(summary) | {"seed": seed} | changes
        run["config"]["seed"] = seed
        if run["config"]["method"]["name"] != run["method"]:
            run["config"]["method"] = {"name": run["method"]}
        (folder / "summary.json").write_text(json.dumps(run))
        if history:
            text = "".join(json.dumps(each) + "\n" for each in history)
            (folder / "metrics.jsonl").write_text(text)
        return tmp_path / "runs"

    return write_run


@pytest.fixture
def evaluation():
    """What `evaluate` writes, of two exits and three classes."""
    measures = {"top5_accuracy": 1.0, "nll": 1.0, "brier_score": 0.5, "calibration_error": 0.1}
    bins = {"count": [0, 4, 6], "confidence": [0, 2, 5.4], "correct": [0, 1, 6]}
    exits = [
        {
            "exit": number,
            "accuracy": accuracy,
            "temperature": None,
            "parameters": 10 * number,
            "flops": number * 10**6,
            "reliability": bins,
            **measures,
        }
        for number, accuracy in ((1, 0.5), (2, 0.7))
    ]
    curve = [
        {"threshold": 0.0, "accuracy": 0.5, "mean_flops": 1e6},
        {"threshold": None, "accuracy": 0.7, "mean_flops": 2.5e6},
    ]
    return {
        "method": "skdsam",
        "model": "resnet18",
        "step": 7,
        "params_digest": "ab" * 32,
        "dataset": "digits",
        "split": "test",
        "examples": 10,
        "exits": exits,
        "class_accuracies": {"a": [0.5, 0.6], "b": [0.5, 0.8], "<c & $d$>": [None, None]},
        "confusion_matrix": [[3, 2, 0], [1, 4, 0], [0, 0, 0]],
        "any_exit": {"curve": curve, "operating_points": [{"measured": curve[0]}]},
        "worst_mistakes": [
            {
                "index": 3,
                "true_class": "a",
                "predicted_class": "<c & $d$>",
                "confidence": 0.875,
                "file": "a/<1>.png",
                "thumbnail": "mistakes/01.png",
            },
            {
                "index": 9,
                "true_class": "b",
                "predicted_class": "a",
                "confidence": 0.5,
                "file": None,
                "thumbnail": "mistakes/02.png",
            },
        ],
    }
