"""Comparing with what was recorded."""

import json

import pytest

from benchmarks import compare

RESULT = {
    "command": "python -m benchmarks.train_step --width 4",
    "settings": {"width": 4, "repeats": 5, "steps": 2},
    "hardware": {"platform": "cpu"},
    "versions": {"jax": "0"},
    "methods": {"cross_entropy": {}},
    "ratios": {"a over b": {"median": 0.8, "minimum": 0.7, "maximum": 0.9}},
}


def write(path, median, **changes):
    ratios = {"a over b": {"median": median, "minimum": median, "maximum": median}}
    path.write_text(json.dumps(RESULT | {"ratios": ratios} | changes))
    return str(path)


@pytest.fixture
def recorded(tmp_path):
    file = str(tmp_path / "recorded.json")
    result = write(tmp_path / "first.json", 0.8)
    assert compare.main(["--recorded", file, "--result", result, "--record"]) == 0
    return file


@pytest.mark.parametrize(("ratio", "code"), [(0.9, 0), (0.77, 0), (0.75, 1)])
def test_lower_by_more_than_the_tolerance_is_slower(recorded, tmp_path, capsys, ratio, code):
    result = write(tmp_path / "now.json", ratio)
    assert compare.main(["--recorded", recorded, "--result", result]) == code
    assert ("slower" in capsys.readouterr().out) == bool(code)


def test_the_tolerance_can_be_wider(recorded, tmp_path):
    result = write(tmp_path / "now.json", 0.75)
    assert compare.main(["--recorded", recorded, "--result", result, "--tolerance", "0.1"]) == 0


def test_recording_again_replaces_the_same_measurement_only(recorded, tmp_path):
    again = write(tmp_path / "again.json", 0.9, settings=RESULT["settings"] | {"repeats": 9})
    other = write(tmp_path / "other.json", 0.5, settings=RESULT["settings"] | {"width": 8})
    for result in (again, other):
        compare.main(["--recorded", recorded, "--result", result, "--record"])
    with open(recorded) as file:
        entries = json.load(file)
    assert [(entry["settings"]["width"], entry["ratios"]["a over b"]) for entry in entries] == [
        (4, 0.9),
        (8, 0.5),
    ]


def test_what_was_never_recorded_cannot_be_compared(recorded, tmp_path, capsys):
    result = write(tmp_path / "now.json", 0.8, hardware={"platform": "gpu"})
    with pytest.raises(SystemExit):
        compare.main(["--recorded", recorded, "--result", result])
    assert "nothing recorded" in capsys.readouterr().err


def test_what_is_no_result_is_refused(tmp_path, capsys):
    (tmp_path / "bad.json").write_text("{}")
    for name, message in (("bad.json", "is not what"), ("none.json", "there is no file")):
        with pytest.raises(SystemExit):
            compare.main(["--result", str(tmp_path / name)])
        assert message in capsys.readouterr().err
