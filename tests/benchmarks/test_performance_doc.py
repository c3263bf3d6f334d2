"""docs/performance.md shows what was measured, and says where it fell short."""

import json

import pytest

from benchmarks import performance_doc
from benchmarks.performance_doc import GOALS, Goal, rewrite

PAGE = "before\n<!-- goals -->\nold\n<!-- end -->\nbetween\n{}after\n"
PRINTED = "<!-- printed train_step_cpu.json -->\nold\n<!-- end -->\n"


@pytest.fixture
def measured(tmp_path):
    """Writes a file of results."""

    def write(value, name="measured.json"):
        (tmp_path / name).write_text(json.dumps({"value": value}))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("aims", "value", "shown"),
    [
        ({"at_least": 1.1}, 1.0996, "| x | at least 1.10 | **1.10** | `measured.json` |"),
        ({"at_least": 1.1}, 1.1, "| x | at least 1.10 | 1.10 | `measured.json` |"),
        ({"at_most": 15, "form": "{:.1f} s"}, 15.1, "| x | at most 15.0 s | **15.1 s** | `meas"),
        ({"at_most": 15, "form": "{:.1f} s"}, 14.9, "| x | at most 15.0 s | 14.9 s | `measured"),
        ({}, 0.5, "| x |  | 0.50 | `measured.json` |"),
    ],
)
def test_what_fell_short_stands_in_bold(measured, aims, value, shown):
    goal = Goal("x", "measured.json", lambda result: result["value"], **aims)
    assert goal.row(measured(value)).startswith(shown)


def test_what_was_not_measured_says_so(tmp_path):
    goal = Goal("x", "measured.json", lambda result: result["value"], at_least=2.0)
    assert goal.row(tmp_path) == "| x | at least 2.00 | not measured yet | `measured.json` |"


def test_a_page_keeps_what_is_not_between_the_comments(tmp_path):
    page = rewrite(PAGE.format(""), tmp_path)
    assert page.startswith("before\n<!-- goals -->\n| | aimed at |")
    assert page.endswith("|\n<!-- end -->\nbetween\nafter\n")
    assert page.count("not measured yet") == len(GOALS)
    assert rewrite(page, tmp_path) == page


def test_a_file_that_is_printed_must_be_there(tmp_path):
    with pytest.raises(ValueError, match=r"the page prints train_step_cpu\.json, which is not in"):
        rewrite(PAGE.format(PRINTED), tmp_path)


def test_a_kind_of_file_that_nothing_prints_is_refused(measured):
    with pytest.raises(ValueError, match=r"the page prints measured\.json, and nothing here knows"):
        rewrite("<!-- printed measured.json -->\n<!-- end -->\n", measured(1))


def test_the_page_is_up_to_date():
    page = performance_doc.PAGE.read_text()
    assert page.count("<!-- goals -->") == 1
    assert "<!-- printed train_step_cpu.json -->" in page
    for name in ("convolutions_cpu.json", "scaling_skdsam.json", "scaling_tpu_*.json"):
        assert f"<!-- printed {name} -->" in page
    assert rewrite(page) == page


def test_a_pattern_prints_the_rows_of_all_its_files():
    files = sorted(performance_doc.RESULTS.glob("scaling_tpu_*.json"))
    page = rewrite("<!-- printed scaling_tpu_*.json -->\n<!-- end -->\n")
    assert [row.split()[-1] for row in page.splitlines()[3:-2]] == [file.name for file in files]
