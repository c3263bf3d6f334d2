"""The page of results that the repository holds: it says what the records beside it say."""

import pathlib
import re

import pytest

from skdsam_jax.commands.report import main
from skdsam_jax.report.runs import find_runs, find_unfinished

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "results" / "README.md"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The page without pictures, made anew."""
    monkeypatch.chdir(ROOT)
    assert main(["results", "--out", str(tmp_path / "page.md")]) == 0
    return (tmp_path / "page.md").read_text()


def _numbers(page):
    """All but the line with the command, and the pictures."""
    shown = re.sub(r"<details>.*?</details>\n\n?", "", page, flags=re.DOTALL)
    return [line for line in shown.splitlines() if line and not line.startswith("Made by ")]


def test_it_says_what_the_records_say(made):
    """Whoever adds a record makes the page anew, by the command that stands in it."""
    assert _numbers(PAGE.read_text()) == _numbers(made)


def test_it_shows_every_picture_that_is_kept_for_it():
    shown = re.findall(r"^!\[[^\[\]]+\]\(<(.+)>\)$", PAGE.read_text(), re.MULTILINE)
    kept = {path.relative_to(PAGE.parent).as_posix() for path in PAGE.parent.glob("pictures/*")}
    assert len(shown) == len(set(shown))
    assert set(shown) == kept


def test_every_record_says_where_it_comes_from():
    """The first ones did not note the commit; a note beside them does."""
    for failed in find_unfinished(ROOT / "results"):
        assert failed.failure, failed.folder
        assert failed.command, failed.folder
    for run in find_runs(ROOT / "results"):
        origin = {"command", "seed", "config", "versions", "hardware"}
        assert origin <= run.summary.keys(), run.folder
        if not run.summary.get("commit"):
            note = run.folder.parent / "NOTE.md"
            assert re.search(r"at commit [0-9a-f]{7}\b", note.read_text().replace("\n", " "))
