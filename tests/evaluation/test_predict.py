"""The command `predict`: every file once, in order, whatever it is."""

import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from skdsam_jax.commands import evaluate, predict

BATCH = ["--batch_size", "16"]


@pytest.fixture(scope="module")
def files(pictures):
    return [str(path) for path in sorted(pictures.glob("*/*"))]


@pytest.fixture(scope="module")
def expected(byot, files):
    """Probabilities of the network, file by file."""
    trained = byot.trained
    return np.asarray(trained.predict(np.stack([trained.prepare(path) for path in files])))


def _lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_lines(byot, pictures, files, expected, capsys):
    arguments = [str(byot.workdir), str(pictures), "--format", "jsonl", "--top", "3", *BATCH]
    assert predict.main(arguments) == 0
    lines = _lines(capsys)
    assert [line["file"] for line in lines] == files
    for line, probabilities in zip(lines, expected, strict=True):
        ranked = [int(found["class"]) for found in line["top"]]
        assert ranked == np.argsort(-probabilities)[:3].tolist()
        found = [found["probability"] for found in line["top"]]
        np.testing.assert_allclose(found, np.sort(probabilities)[::-1][:3], rtol=1e-4)
        assert line["class"] == line["top"][0]["class"]
        assert "exit" not in line


def test_csv_and_table_say_the_same(byot, files, capsys, tmp_path):
    out = tmp_path / "answers.csv"
    arguments = [str(byot.workdir), *files[:3], *BATCH]
    assert predict.main([*arguments, "--format", "csv", "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["file", "class", "probability", "class_2"]
    assert predict.main(arguments) == 0
    table = capsys.readouterr().out.splitlines()
    for row, line in zip(rows, table, strict=True):
        cells = line.split()
        assert cells[:2] == [row["file"], row["class"]]
        assert float(cells[2]) == pytest.approx(float(row["probability"]), abs=6e-5)
        assert len(cells) == 1 + 2 * 5


def test_unreadable_files_are_named_skipped_and_counted(byot, pictures, tmp_path, capsys):
    folder = shutil.copytree(pictures, tmp_path / "mixed")
    (folder / "0" / "000.png").write_bytes(b"no picture")
    (folder / "1" / "zzz.jpg").write_bytes(b"")
    (folder / "1" / "notes.txt").write_text("is not looked at")
    (folder / "1" / ".hidden.png").write_bytes(b"neither")
    assert predict.main([str(byot.workdir), str(folder), "--format", "jsonl", *BATCH]) == 4
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 40
    assert f"skipped {folder / '0' / '000.png'}: is no picture" in captured.err
    assert f"skipped {folder / '1' / 'zzz.jpg'}: is empty" in captured.err
    assert re.search(r"40 images, [\d,]+ images/s .*; 2 unreadable", captured.err)
    assert "notes.txt" not in captured.err


def test_another_exit(byot, files, capsys):
    arguments = [str(byot.workdir), *files, "--format", "jsonl", *BATCH]
    assert predict.main([*arguments, "--exit", "1"]) == 0
    first = _lines(capsys)
    assert predict.main([*arguments, "--exit", "3"]) == 0
    deepest = _lines(capsys)
    assert predict.main(arguments) == 0
    assert _lines(capsys) == deepest
    assert first != deepest


def test_early_exits_say_which_answered(byot, files, capsys):
    arguments = [str(byot.workdir), *files, "--format", "jsonl", *BATCH]
    assert predict.main([*arguments, "--exit", "1"]) == 0
    first = _lines(capsys)
    threshold = float(np.median([line["probability"] for line in first])) + 1e-4
    assert predict.main([*arguments, "--confidence", str(threshold)]) == 0
    early = _lines(capsys)
    assert [line["file"] for line in early] == files
    for line, alone in zip(early, first, strict=True):
        assert (line["exit"] == 1) == (alone["probability"] >= threshold)
        if line["exit"] == 1:
            assert line["class"] == alone["class"]
    assert len({line["exit"] for line in early}) > 1


@pytest.mark.slow
def test_calibrated_probabilities(byot, files, expected, tmp_path, capsys):
    workdir = shutil.copytree(byot.workdir, tmp_path / "run")
    arguments = [str(workdir), *files, "--format", "jsonl", "--calibrated", *BATCH]
    assert predict.main(arguments) == 2
    assert "run: skdsam evaluate" in capsys.readouterr().err
    assert evaluate.main([str(workdir), "--seconds", "0", *BATCH]) == 0
    file = workdir / "evaluation" / "evaluation.json"
    evaluation = json.loads(file.read_text())
    temperature = evaluation["exits"][-1]["temperature"]
    capsys.readouterr()
    assert predict.main(arguments) == 0
    softened = expected ** (1 / temperature)
    softened /= softened.sum(-1, keepdims=True)
    found = [line["probability"] for line in _lines(capsys)]
    np.testing.assert_allclose(found, softened.max(-1), rtol=1e-4)
    file.write_text(json.dumps(evaluation | {"params_digest": "another"}))
    assert predict.main(arguments) == 2
    assert "of another checkpoint" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_ends_it_quietly(byot, files):
    """As `head` does."""
    command = [sys.executable, "-m", "skdsam_jax", "predict", str(byot.workdir), *files, *BATCH]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png: no such file or folder"),
        (["--exit", "4"], "--exit: takes 1 to 3 with this run, not 4"),
        (["--confidence", "1.5"], "--confidence: takes 0 to 1, not 1.5"),
        (["--top", "0"], "--top: takes at least 1, not 0"),
        (["--out", "no/folder/answers"], "--out: no/folder/answers cannot be written"),
    ],
)
def test_refusals(byot, files, arguments, message, capsys):
    assert predict.main([str(byot.workdir), files[0], *arguments]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_a_folder_without_pictures(byot, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no picture")
    assert predict.main([str(byot.workdir), str(tmp_path)]) == 2
    assert "no pictures there" in capsys.readouterr().err
