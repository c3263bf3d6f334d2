"""The command `evaluate`: numbers of the run, and everything that can be asked of it."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from skdsam_jax.commands import evaluate
from skdsam_jax.evaluation.examples import examples_of
from skdsam_jax.evaluation.mistakes import MOST_MISTAKES, write_thumbnails
from skdsam_jax.report import evaluation_pictures

QUICK = ["--seconds", "0", "--batch_size", "16"]


@pytest.fixture(scope="module")
def evaluated(byot, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "evaluation"
    assert evaluate.main([str(byot.workdir), "--out", str(out), *QUICK]) == 0
    return json.loads((out / "evaluation.json").read_text())


def test_accuracies_are_those_of_the_run(byot, evaluated):
    summary = byot.summary
    assert [exit_["accuracy"] for exit_ in evaluated["exits"]] == summary["exit_accuracies"]
    assert evaluated["ensemble"]["accuracy"] == summary["ensemble_accuracy"]
    test = summary["test"]
    assert [exit_["top5_accuracy"] for exit_ in evaluated["exits"]] == test["exit_top5_accuracy"]
    for name in ("nll", "calibration_error"):
        found = [exit_[name] for exit_ in evaluated["exits"]]
        assert found == pytest.approx(test[f"exit_{name}"], rel=1e-4)
    assert evaluated["examples"] == test["examples"]
    assert evaluated["params_digest"] == summary["params_digest"]


@pytest.mark.slow
def test_a_run_in_bfloat16_is_evaluated_in_it(plain, tmp_path):
    assert evaluate.main([str(plain.workdir), "--out", str(tmp_path), *QUICK]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert [exit_["accuracy"] for exit_ in found["exits"]] == plain.summary["exit_accuracies"]
    assert found["exits"][0]["nll"] == pytest.approx(plain.summary["test"]["nll"], rel=1e-4)


def test_nothing_is_fitted_without_a_validation_split(plain, tmp_path, capsys):
    assert evaluate.main([str(plain.workdir), "--out", str(tmp_path), *QUICK]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found["any_exit"]["fitted_on"] is None
    assert "validation_fraction" in found["any_exit"]["why_not"]
    assert found["any_exit"]["operating_points"] == []
    assert found["exits"][0]["temperature"] is None
    assert "one exit" in capsys.readouterr().out


def test_what_is_fitted_on_the_validation_split(byot, evaluated):
    any_exit = evaluated["any_exit"]
    assert any_exit["fitted_on"] == "validation"
    assert any_exit["operating_points"]
    validation = byot.summary["validation"]
    for point in any_exit["operating_points"]:
        assert point["speed_relative_to_deepest_exit"] > 0
        assert sum(point["measured"]["leave"]) == pytest.approx(1)
    goal = any_exit["operating_points"][0]
    assert goal["validation"]["accuracy"] >= validation["accuracy"]
    for exit_ in evaluated["exits"]:
        assert 0.01 <= exit_["temperature"] <= 100
        assert exit_["calibrated"]["accuracy"] == exit_["accuracy"]


def test_the_curve_goes_from_the_first_exit_to_the_last(evaluated):
    curve, exits = evaluated["any_exit"]["curve"], evaluated["exits"]
    assert curve[0]["leave"] == [1, 0, 0]
    assert curve[0]["accuracy"] == exits[0]["accuracy"]
    assert curve[0]["mean_flops"] == exits[0]["flops"]
    assert curve[-1]["threshold"] is None
    assert curve[-1]["accuracy"] == exits[-1]["accuracy"]
    assert curve[-1]["mean_flops"] == exits[-1]["flops_through"]
    costs = [point["mean_flops"] for point in curve]
    assert costs == sorted(costs)


def test_matrix_and_classes_agree_with_the_accuracies(evaluated):
    matrix = np.array(evaluated["confusion_matrix"])
    assert matrix.sum() == evaluated["examples"]
    assert np.trace(matrix) / matrix.sum() == evaluated["exits"][-1]["accuracy"]
    classes = np.array(list(evaluated["class_accuracies"].values()))
    assert classes.shape == (10, 3)
    shares = matrix.sum(1) / matrix.sum()
    found = [exit_["accuracy"] for exit_ in evaluated["exits"]]
    np.testing.assert_allclose(shares @ classes, found)


def test_it_says_what_it_was_measured_on(evaluated):
    for name in ("command", "commit", "versions", "xla_flags", "allocator", "hardware", "config"):
        assert name in evaluated
    assert evaluated["versions"]["jax"]


def test_validation_is_a_split_too(byot, tmp_path, capsys):
    arguments = ["--split", "validation", "--out", str(tmp_path), *QUICK]
    assert evaluate.main([str(byot.workdir), *arguments]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    validation = byot.summary["validation"]
    assert found["exits"][-1]["accuracy"] == validation["accuracy"]
    out = capsys.readouterr().out
    assert "split validation" in out
    assert "ensemble" in out


@pytest.mark.slow
def test_a_folder_is_another_set(byot, pictures, test_split, tmp_path):
    arguments = ["--folder", str(pictures), "--out", str(tmp_path), *QUICK]
    assert evaluate.main([str(byot.workdir), *arguments]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    predicted = byot.trained.predict(test_split.images[:40]).argmax(-1)
    assert found["exits"][-1]["accuracy"] == np.mean(predicted == test_split.labels[:40])
    assert (found["dataset"], found["examples"]) == ("digits", 40)
    for mistake in found["worst_mistakes"]:
        assert (pictures / mistake["file"]).is_file()
        assert mistake["file"].startswith(mistake["true_class"] + "/")


def test_the_worst_mistakes_are_those_of_the_deepest_exit(byot, test_split, evaluated, tmp_path):
    probabilities = np.asarray(byot.trained.predict(test_split.images))
    found = evaluated["worst_mistakes"]
    assert len(found) == MOST_MISTAKES
    confidences = [mistake["confidence"] for mistake in found]
    assert confidences == sorted(confidences, reverse=True)
    for mistake in found:
        row, label = probabilities[mistake["index"]], test_split.labels[mistake["index"]]
        assert mistake["true_class"] == str(label)
        assert mistake["predicted_class"] == str(row.argmax())
        assert row.argmax() != label
        assert mistake["confidence"] == pytest.approx(row.max(), rel=1e-4)
        assert mistake["file"] is None
    write_thumbnails(found, examples_of(test_split, test_split.image_shape[0]), tmp_path)
    for mistake in found:
        with Image.open(tmp_path / mistake["thumbnail"]) as picture:
            np.testing.assert_array_equal(picture, test_split.images[mistake["index"]])


@pytest.mark.slow
def test_a_set_by_name(byot, evaluated, tmp_path):
    arguments = ["--data", "digits", "--out", str(tmp_path), *QUICK]
    assert evaluate.main([str(byot.workdir), *arguments]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found["confusion_matrix"] == evaluated["confusion_matrix"]
    assert found["any_exit"]["fitted_on"] == "validation"


def test_corruptions(byot, evaluated, tmp_path, capsys):
    arguments = ["--corruptions", "contrast,impulse_noise", "--out", str(tmp_path), *QUICK]
    assert evaluate.main([str(byot.workdir), *arguments]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())["corruptions"]
    assert np.shape(found["accuracies"]["contrast"]) == (5, 3)
    means = np.mean(list(found["accuracies"].values()), axis=1)
    np.testing.assert_allclose(found["mean_accuracy"], means.mean(0))
    assert found["accuracies"]["contrast"][4] != found["accuracies"]["contrast"][0]
    assert "contrast" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folder", "nowhere"], "--folder: no such folder: nowhere"),
        (["--data", "folder"], "--data: takes the name of a set"),
        (["--data", "digit"], "--data: unknown value 'digit'; did you mean digits?"),
        (["--corruptions", "fogg"], "--corruptions: unknown 'fogg'; did you mean fog?"),
        (["--batch_size", "0"], "--batch_size: takes at least 1, not 0"),
        (["--which", "5"], "has no checkpoint of step 5"),
    ],
)
def test_refusals(byot, arguments, message, capsys):
    assert evaluate.main([str(byot.workdir), *arguments]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_other_classes_are_refused(byot, pictures, tmp_path, capsys):
    other = shutil.copytree(pictures, tmp_path / "other")
    (other / "9").rename(other / "nine")
    assert evaluate.main([str(byot.workdir), "--folder", str(other)]) == 2
    expected = "lacks 9 and has nine, which the network does not know"
    assert expected in capsys.readouterr().err


def test_a_run_without_a_split_says_so(plain, capsys):
    assert evaluate.main([str(plain.workdir), "--split", "validation"]) == 2
    assert "digits has no validation split" in capsys.readouterr().err


def test_pictures(evaluated, tmp_path):
    pictures = evaluation_pictures.draw(evaluated, tmp_path)
    assert [picture.name for picture in pictures] == [
        "accuracy_against_flops",
        "reliability",
        "confusion_matrix",
        "worst_mistakes",
    ]
    for drawn in pictures:
        with Image.open(io.BytesIO(drawn.png)) as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    older = {name: value for name, value in evaluated.items() if name != "worst_mistakes"}
    assert len(evaluation_pictures.draw(older, tmp_path)) == 3


@pytest.mark.slow
def test_a_student_needs_no_teacher_any_more(train, plain, tmp_path):
    """Its run's folder is gone, and with it what the method is built from."""
    teacher = shutil.copytree(plain.workdir, tmp_path / "teacher")
    run = train(
        tmp_path / "run",
        "knowledge_distillation",
        **{"method.teacher": str(teacher), "training.epochs": 1},
    )
    shutil.rmtree(teacher)
    assert evaluate.main([str(run.workdir), *QUICK]) == 0
    found = json.loads((run.workdir / "evaluation" / "evaluation.json").read_text())
    assert found["exits"][0]["accuracy"] == run.summary["test_accuracy"]


# Each part of such a network is looked at in `test_parts.py`.
@pytest.mark.slow
def test_other_predictions_are_measured(train, tmp_path):
    run = train(tmp_path / "run", "sla_sd", **{"training.epochs": 1})
    assert evaluate.main([str(run.workdir), *QUICK]) == 0
    found = json.loads((run.workdir / "evaluation" / "evaluation.json").read_text())
    others = {name: measures["accuracy"] for name, measures in found["others"].items()}
    assert others == run.summary["other_accuracies"]
    assert "aggregated" in others
