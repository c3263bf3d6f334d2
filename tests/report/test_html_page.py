"""The command `report` with its pages, pictures and CSV files."""

import csv
import html.parser
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from skdsam_jax.commands.report import main
from skdsam_jax.report import drawing, evaluation_pictures, run_pictures

TAGS_WITHOUT_END = {"meta", "img", "br"}


class Parser(html.parser.HTMLParser):
    """Checks that tags are closed in order; keeps all attributes and the text."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in TAGS_WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _parse(page):
    parser = Parser()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def _lines(offset):
    attention = {"attention_weights": [0.5, 0.3, 0.2], "attention_entropy": 1.03}
    return [
        {
            "epoch": epoch,
            "train": {"loss": 4.0 - epoch, "accuracy": [0.1, 0.2], **attention},
            "test": {"exit_accuracies": [0.1 * epoch + offset, 0.2 * epoch + offset]},
        }
        for epoch in range(3)
    ]


@pytest.fixture
def runs(write, evaluation):
    """Two methods with two seeds, of which one was measured, and a run that has stopped."""
    for seed in range(2):
        write(f"ours-{seed}", seed, _lines(0.01 * seed), test_accuracy=0.7 + 0.1 * seed)
        folder = write(f"theirs-{seed}", seed, method="cross_entropy", test_accuracy=0.6)
    measured = folder / "ours-0" / "evaluation"
    (measured / "mistakes").mkdir(parents=True)
    (measured / "evaluation.json").write_text(json.dumps(evaluation))
    pixels = np.full((4, 4, 3), 77, np.uint8)
    Image.fromarray(pixels).save(measured / "mistakes" / "01.png")
    stopped = folder / "stopped"
    stopped.mkdir()
    config = json.loads((folder / "ours-0" / "summary.json").read_text())["config"]
    (stopped / "config.json").write_text(json.dumps(config | {"seed": 5}))
    (stopped / "metrics.jsonl").write_text(json.dumps(_lines(0)[0]) + '\n{"epoch": 1, "tr')
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "config.json").write_text("[1]")
    return folder


@pytest.fixture
def without_matplotlib(monkeypatch):
    monkeypatch.setattr(drawing, "available", lambda: False)


def _rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_page_loads_nothing_and_is_whole(runs, tmp_path, capsys, without_matplotlib):
    out = tmp_path / "page"
    assert main([str(runs), "--html", str(out)]) == 0
    page = (out / "index.html").read_text()
    parser = _parse(page)
    assert "://" not in page
    assert not {"script", "link", "iframe"} & {tag for tag, _, _ in parser.attributes}
    sources = [value for _, name, value in parser.attributes if name == "src"]
    assert len(sources) == 1  # Of two mistakes one has a picture.
    assert sources[0].startswith("data:image/png;base64,")
    links = [value.removeprefix("#") for _, name, value in parser.attributes if name == "href"]
    assert links == [value for _, name, value in parser.attributes if name == "id"]
    text = " ".join(parser.text)
    assert "<c & $d$>" in text
    assert "a/<1>.png" in text
    assert "no. 9" in text
    assert "+15.00 ± 63.53 (n = 2)" in text  # Of 0.1 and 0.2: 12.706 * 0.0707 / sqrt(2).
    output = capsys.readouterr().out
    assert output.count("\n") == 2
    assert "no pictures without matplotlib; for them: pip install" in output


def test_unfinished_runs_are_listed(runs, capsys):
    assert main([str(runs)]) == 0
    page = capsys.readouterr().out
    assert "## Unfinished runs\n" in page
    assert "| folder | method | network | data | seed | epochs |\n" in page
    assert "| stopped | skdsam | resnet18 | digits | 5 | 1 of 250 |\n" in page
    failure = {"finished": False, "failure": "step 7 was not finite", "command": "train.py --a"}
    (runs / "stopped" / "summary.json").write_text(json.dumps(failure))
    assert main([str(runs)]) == 0
    row = "| 5 | 1 of 250 | step 7 was not finite | `train.py --a` |\n"
    assert row in capsys.readouterr().out
    shutil.rmtree(runs / "stopped")
    assert main([str(runs)]) == 0
    assert "Unfinished" not in capsys.readouterr().out


def test_the_record_of_a_failed_run_is_listed_by_its_summary(
    runs, tmp_path, capsys, without_matplotlib
):
    config = json.loads((runs / "stopped" / "config.json").read_text())
    (runs / "stopped" / "config.json").unlink()
    failure = {"failure": "step 7 was not finite", "command": "train.py --a", "config": config}
    (runs / "stopped" / "summary.json").write_text(json.dumps({"finished": False} | failure))
    assert main([str(runs), "--html", str(tmp_path / "page")]) == 0
    assert main([str(runs)]) == 0
    row = "| stopped | skdsam | resnet18 | digits | 5 | 1 of 250 | step 7 was not finite |"
    assert row in capsys.readouterr().out
    (*_, stopped) = _rows(tmp_path / "page" / "runs.csv")
    assert stopped["folder"] == (runs / "stopped").as_posix()
    assert stopped["failure"] == "step 7 was not finite"


def test_the_markdown_explains_its_differences_only_where_it_has_some(runs, capsys):
    assert main([str(runs)]) == 0
    page = capsys.readouterr().out
    assert "| minus cross_entropy |" in page
    assert "the 95% interval of its mean by Student's t" in page.replace("\n", " ")
    assert main([str(runs), "--baseline", "byot"]) == 0
    page = capsys.readouterr().out
    assert "| minus" not in page
    assert "the 95% interval of its mean" not in page.replace("\n", " ")


def test_the_markdown_shows_its_pictures_from_where_they_are(runs, tmp_path):
    page, pictures = tmp_path / "pages" / "page.md", tmp_path / "the pictures"
    assert main([str(runs), "--out", str(page), "--pictures", str(pictures)]) == 0
    shown = re.findall(r"^!\[[^\[\]]+\]\(<(.+)>\)$", page.read_text(), re.MULTILINE)
    assert sorted((page.parent / name).resolve() for name in shown) == sorted(pictures.iterdir())
    kinds = re.findall("<summary>(.+)</summary>", page.read_text())
    assert kinds[:3] == ["Accuracies", "Learning curves", "Attention"]
    assert page.read_text().count("</details>") == len(kinds)


def test_pictures_of_no_page_are_refused(runs, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main([str(runs), "--pictures", str(tmp_path)])
    assert error.value.code == 2
    assert "--pictures: needs --out" in capsys.readouterr().err


def test_a_markdown_page_without_matplotlib_says_so(runs, tmp_path, capsys, without_matplotlib):
    flags = ["--out", str(tmp_path / "page.md"), "--pictures", str(tmp_path / "pictures")]
    assert main([str(runs), *flags]) == 0
    assert "no pictures without matplotlib" in capsys.readouterr().out
    assert "![" not in (tmp_path / "page.md").read_text()


def test_csv_files_hold_plain_numbers(runs, tmp_path, without_matplotlib):
    assert main([str(runs), "--html", str(tmp_path / "page")]) == 0
    tables = {path.name: _rows(path) for path in (tmp_path / "page").glob("*.csv")}
    assert set(tables) == {"results.csv", "runs.csv", "differences.csv", "exits.csv"}
    theirs, ours = tables["results.csv"]
    assert float(ours["test_accuracy_mean"]) == pytest.approx(0.75)
    assert float(ours["test_accuracy_deviation"]) == pytest.approx(0.1 / 2**0.5)
    assert float(ours["exit_2_accuracy_mean"]) == 0.5
    assert (theirs["method"], theirs["seeds"]) == ("cross_entropy", "2")
    assert [row["finished_epochs"] for row in tables["runs.csv"]] == ["250"] * 4 + ["1"]
    (difference,) = tables["differences.csv"]
    assert float(difference["mean_difference"]) == pytest.approx(0.15)
    assert difference["baseline_training"] == "thesis, 250 epochs of batch 128, float32"
    assert [float(row["flops"]) for row in tables["exits.csv"]] == [1e6, 2e6]


def test_what_was_measured_apart_from_its_run_is_shown_too(tmp_path, evaluation, capsys):
    folder = tmp_path / "measured" / "one"
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    assert main([str(tmp_path)]) == 0
    page = capsys.readouterr().out
    assert "## Networks measured apart from their runs" in page
    assert "| 10 images of digits, test | 7 | 50.00 70.00 | 1.00 2.00 |" in page


def test_files_of_other_programs_are_passed_over(runs, tmp_path, capsys, without_matplotlib):
    for place in ("apart", "theirs-0"):
        (runs / place).mkdir(exist_ok=True)
        (runs / place / "evaluation.json").write_text('{"bleu": 3}')
    assert main([str(runs), "--html", str(tmp_path / "page")]) == 0
    (runs / "apart" / "summary.json").write_text('{"finished": true, "method": "theirs"}')
    assert main([str(runs), "--html", str(tmp_path / "page")]) == 2
    assert capsys.readouterr().err.endswith("apart/summary.json: is no summary of a run\n")


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluation/evaluation.json", "summary.json"])
def test_a_damaged_file_is_named_in_one_line(runs, tmp_path, capsys, name):
    (runs / "ours-0" / name).write_text("{")
    assert main([str(runs), "--html", str(tmp_path / "page")]) == 2
    errors = capsys.readouterr().err
    assert str(runs / "ours-0" / name) in errors
    assert errors.count("\n") == 1


def test_a_page_that_cannot_be_written_is_one_line(runs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([str(runs), "--out", str(tmp_path / "file" / "page.md")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def _is_drawn(path):
    with Image.open(path) as picture:
        return len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_pictures(runs, tmp_path):
    out = tmp_path / "page"
    assert main([str(runs), "--html", str(out)]) == 0
    names = sorted(
        re.fullmatch("(.+)-[0-9a-f]{8}-(.+)", path.stem).groups() for path in out.glob("*.png")
    )
    ends = ("accuracy_against_flops", "attention", "confusion_matrix", "learning", "reliability")
    assert names == [
        ("digits-recipe-thesis", "accuracies"),
        *(("skdsam-resnet18", end) for end in (*ends, "worst_mistakes")),
    ]
    assert all(map(_is_drawn, out.glob("*.png")))
    page = (out / "index.html").read_text()
    _parse(page)
    # The page shows the mistakes itself, not their sheet.
    assert page.count("<figure>") == len(names) - 1
    assert "://" not in re.sub('base64,[^"]*', "", page)


def test_pictures_that_a_page_no_longer_shows_go_and_no_others(write, tmp_path):
    """A row that stays keeps its files, to the byte, whatever rows come beside it."""
    folder = write("ours-0", 0, _lines(0.0))
    page, pictures = tmp_path / "page.md", tmp_path / "pictures"
    flags = [str(folder), "--pictures", str(pictures), "--out"]
    assert main([*flags, str(page)]) == 0
    alone = {path.name: path.read_bytes() for path in pictures.iterdir()}
    assert len(alone) == 2
    write("theirs-0", 0, _lines(0.1), method="byot")
    assert main([*flags, str(page)]) == 0
    assert main([*flags, str(tmp_path / "other.md")]) == 0
    both = {path.name for path in pictures.iterdir()}
    assert {name: (pictures / name).read_bytes() for name in alone} == alone
    (learning,) = pictures.glob("byot-*-learning.png")
    Image.new("L", (2, 2)).save(learning)  # Somebody else's by now.
    shutil.rmtree(folder / "theirs-0")
    assert main([*flags, str(page)]) == 0
    assert both > {path.name for path in pictures.iterdir()} == {*alone, learning.name}


def test_a_page_that_cannot_be_drawn_removes_no_pictures(runs, tmp_path, monkeypatch):
    flags = [str(runs), "--out", str(tmp_path / "a.md"), "--pictures", str(tmp_path / "pictures")]
    assert main(flags) == 0
    before = {path.name for path in (tmp_path / "pictures").iterdir()}
    monkeypatch.setattr(drawing, "available", lambda: False)
    assert main(flags) == 0
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == before != set()


def test_another_page_in_the_same_folder_keeps_its_pictures(write, tmp_path):
    first = write("ours-0", 0, _lines(0.0))
    pictures = tmp_path / "pictures"
    assert main([str(first), "--out", str(tmp_path / "a.md"), "--pictures", str(pictures)]) == 0
    before = {path.name for path in pictures.iterdir()}
    second = tmp_path / "others"
    second.mkdir()
    shutil.move(first / "ours-0", second / "ours-0")
    summary = json.loads((second / "ours-0" / "summary.json").read_text())
    (second / "ours-0" / "summary.json").write_text(json.dumps(summary | {"model": "resnet34"}))
    assert main([str(second), "--out", str(tmp_path / "b.md"), "--pictures", str(pictures)]) == 0
    assert before < {path.name for path in pictures.iterdir()}


def test_pictures_have_one_name_wherever_a_report_is_made_from(tmp_path, evaluation, monkeypatch):
    (tmp_path / "measured" / "one").mkdir(parents=True)
    (tmp_path / "measured" / "one" / "evaluation.json").write_text(json.dumps(evaluation))
    monkeypatch.chdir(tmp_path)
    for number, folder in enumerate(("measured", str(tmp_path / "measured"))):
        assert main([folder, "--html", f"page{number}"]) == 0
    names = [{path.name for path in tmp_path.glob(f"page{n}/*.png")} for n in range(2)]
    assert names[0] == names[1] != set()


def test_every_row_has_pictures_of_its_own(write, tmp_path):
    """Also one that differs in its parameters alone, as the same config can in two versions."""
    write("ours", 0, _lines(0.0))
    folder = write("theirs", 0, _lines(0.1), parameters=1001)
    assert main([str(folder), "--html", str(tmp_path / "page")]) == 0
    assert len(list((tmp_path / "page").glob("*-learning.png"))) == 2


def test_lines_of_a_picture_are_told_apart_without_their_marks():
    looks = [run_pictures.look(number) for number in range(28)]
    assert len({(each["color"], each["linestyle"]) for each in looks}) == 28
    assert len({(each["color"], each["marker"]) for each in looks}) == 28


def test_many_classes_are_named_where_they_are_confused(evaluation, tmp_path):
    matrix = np.eye(100, dtype=int)
    matrix[3, 4] = 2
    names = {f"class {number}": [0.5, 0.5] for number in range(100)}
    many = evaluation | {"confusion_matrix": matrix.tolist(), "class_accuracies": names}
    heights = []
    for result in (evaluation, many):
        (png,) = (
            picture.png
            for picture in evaluation_pictures.draw(result, tmp_path)
            if picture.name == "confusion_matrix"
        )
        with Image.open(io.BytesIO(png)) as picture:
            heights.append(picture.height)
    assert heights[0] < heights[1]
