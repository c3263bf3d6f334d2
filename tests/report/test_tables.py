"""Tables of runs: what shares a row or a table, and that every number comes from a file."""

import copy
import json
import re
import shlex
import statistics

import pytest

from skdsam_jax.commands.report import main
from skdsam_jax.experiment.cells import use_cell
from skdsam_jax.experiment.config import default_config, from_config_dict, to_dict


def _write(folder, *summaries):
    for number, summary in enumerate(summaries):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "summary.json").write_text(json.dumps(summary))


def _rows(page):
    """Of experiments with SKDSAM, without their numbers."""
    return re.findall(r"^\| \d+ (\| skdsam.*)$", page, re.MULTILINE)


def _page(tmp_path, capsys, *summaries):
    _write(tmp_path, *summaries)
    assert main([str(tmp_path)]) == 0
    return capsys.readouterr().out


def _changed(summary, **changes):
    """The same run with fields of its config changed, such as data__flip=False."""
    run = copy.deepcopy(summary)
    for field, value in changes.items():
        *sections, name = field.split("__")
        place = run["config"]
        for section in sections:
            place = place[section]
        place[name] = value
    return run | {"seed": run["config"]["seed"]}


def _titles(page):
    return re.findall(r"^## (.*)$", page, re.MULTILINE)


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
    assert "| 0.500 ± 0.000, 0.250 ± 0.000, 0.250 ± 0.000 (1.0397) |" in row


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
    page = _page(tmp_path, capsys, *runs)
    recipes = [re.split("[,|]", row)[3].strip() for row in _rows(page)]
    assert recipes == [
        *("own recipe", "lab", "lab + mixup"),
        *("thesis", "thesis + cutout", "thesis + cutout + mixup"),
    ]
    assert _titles(page) == [
        "digits, own recipe (crop_fill=7)",
        "digits, recipe lab",
        "digits, recipe thesis",
    ]
    # The old one had the fields' defaults: it is a second run of the first's experiment.
    assert "| 1 (2 runs) |" in next(row for row in _rows(page) if "| thesis, " in row)


def test_one_exit_has_no_attention(tmp_path, summary, capsys):
    alone = summary | {"attention_weights": None, "attention_entropy": None}
    with_both = _page(tmp_path / "both", capsys, summary, _changed(alone, model__width=3))
    assert sum("|  |" in row for row in _rows(with_both)) == 1
    assert "| attention" not in _page(tmp_path / "one", capsys, alone)


def test_attention_shows_that_seeds_chose_different_exits(tmp_path, summary, capsys):
    chosen = [
        summary | {"seed": seed, "attention_weights": weights, "attention_entropy": 0.25 * seed}
        for seed, weights in enumerate(([1.0, 0.0], [0.0, 1.0]))
    ]
    assert "| 1.000 0.000 (0.0000) |" in _page(tmp_path / "one", capsys, chosen[0])
    both = _page(tmp_path / "both", capsys, *chosen)
    assert "| 0.500 ± 0.707, 0.500 ± 0.707 (0.1250) |" in both


def test_methods_without_attention_have_none_whatever_earlier_versions_wrote(
    tmp_path, summary, capsys
):
    byot = copy.deepcopy(summary) | {"method": "byot"}
    byot["config"]["method"] = {"name": "byot"}
    assert "| attention" not in _page(tmp_path, capsys, byot)


def test_a_run_too_short_to_be_timed_has_no_rate(tmp_path, summary, capsys):
    unmeasured = _changed(summary, model__width=3) | {"images_per_second": None}
    page = _page(tmp_path, capsys, summary, unmeasured)
    assert sum("| 80.00 |  | 1 x cpu" in row for row in _rows(page)) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model__width": 3, "model__stem": "imagenet"}, "| resnet18 (width=3, stem=imagenet) |"),
        ({"model__head_width_cap": 64}, "| resnet18 (head_width_cap=64) |"),
        ({"training__learning_rate": 0.05}, "float32 (learning_rate=0.05) |"),
        ({"training__weight_decay": 0.0}, "float32 (weight_decay=0.0) |"),
        ({"training__compute_dtype": "bfloat16"}, "| thesis, 250 epochs of batch 128, bfloat16 |"),
        ({"data__crop": "resized", "data__flip": False}, "float32 (crop=resized, flip=False) |"),
        ({"data__crop_padding": 2}, "float32 (crop_padding=2) |"),
        ({"data__cutout": "mean", "data__cutout_size": 4}, "float32 (cutout_size=4) |"),
        ({"evaluation__every_epochs": 5}, "float32 (evaluation.every_epochs=5) |"),
        ({"method__energy": "dot"}, "| skdsam (energy=dot) |"),
    ],
)
def test_whatever_makes_runs_differ_is_said(tmp_path, summary, capsys, changes, words):
    page = _page(tmp_path, capsys, summary, _changed(summary, **changes))
    assert len(_titles(page)) == 1
    assert [words in row for row in _rows(page)].count(True) == 1
    assert all("| 1 |" in row for row in _rows(page))


def test_every_field_splits_a_row_or_cannot_change_a_number(tmp_path, summary, capsys):
    """Whatever a config holds, another value of it makes a row or a table of its own."""
    free = {
        *("data.data_dir", "data.workers", "evaluation.batch_size", "checkpoint.every_minutes"),
        *("checkpoint.keep_latest", "logging.tensorboard", "model.initial"),
    }
    names = {"seed", "method.name", "model.name", "data.name"}  # Said by the summary itself.
    fields = {
        f"{section}.{name}"
        for section, values in summary["config"].items()
        if isinstance(values, dict)
        for name in values
    }
    for field in sorted(fields - names):
        value = 77 if field == "data.train_examples" else "77"
        run = _changed(summary, **{field.replace(".", "__"): value})
        page = _page(tmp_path / field, capsys, summary, run)
        assert len(_rows(page)) == (1 if field in free else 2), field


@pytest.mark.parametrize(
    ("changes", "titles"),
    [
        (
            {"data__image_size": 32},
            ["digits at 32 pixels, recipe thesis", "digits, recipe thesis"],
        ),
        (
            {"data__train_examples": 2000},
            ["digits, 2,000 training images, recipe thesis", "digits, recipe thesis"],
        ),
        (
            {"training__decay_at": [0.5]},
            ["digits, own recipe (decay_at=[0.5])", "digits, recipe thesis"],
        ),
        ({"data__name": "folder"}, ["digits (a folder), recipe thesis", "digits, recipe thesis"]),
    ],
)
def test_what_does_not_compare_is_in_another_table(tmp_path, summary, capsys, changes, titles):
    page = _page(tmp_path, capsys, summary, _changed(summary, **changes))
    assert _titles(page) == titles
    assert page.count("| method |") == 2


def test_folders_of_one_name_are_two_sets_where_their_files_differ(tmp_path, summary, capsys):
    """Of earlier versions the name alone is known."""
    old = _changed(summary, data__name="folder")
    folds = [old | {"dataset_fingerprint": letters} for letters in ("0a1b", "2c3d")]
    assert _titles(_page(tmp_path, capsys, old, *folds)) == [
        "digits (a folder), recipe thesis",
        "digits (a folder, 0a1b), recipe thesis",
        "digits (a folder, 2c3d), recipe thesis",
    ]


def test_a_part_of_a_set_is_another_set(tmp_path, summary, capsys):
    page = _page(tmp_path, capsys, summary, summary | {"dataset": "digits (partial)"})
    assert _titles(page) == ["digits (partial), recipe thesis", "digits, recipe thesis"]


def test_runs_with_one_seed_count_as_one(tmp_path, summary, capsys):
    again = summary | {"test_accuracy": 0.77, "exit_accuracies": [0.27, 0.5, 0.6, 0.77]}
    other = _changed(summary, seed=1) | {"test_accuracy": 0.80}
    (row,) = _rows(_page(tmp_path / "two", capsys, summary, again))
    assert "| 1 (2 runs) | 76.00 |" in row
    assert "| 26.00 50.00 60.00 76.00 |" in row
    (row,) = _rows(_page(tmp_path / "three", capsys, summary, again, other))
    assert f"| 2 (3 runs) | 78.00 ± {100 * statistics.stdev([0.76, 0.80]):.2f} |" in row


@pytest.mark.parametrize(
    "other", [{"other_accuracies": {"aggregated": 0.875}}, {"aggregated_accuracy": 0.875}]
)
def test_what_predicts_besides_has_a_column(tmp_path, summary, capsys, other):
    """In version 0.1.0 rotations alone did, and had a field of their own."""
    assert "aggregated" not in _page(tmp_path / "none", capsys, summary)
    views = _changed(summary, model__width=3) | other
    page = _page(tmp_path / "some", capsys, summary, views)
    assert "| last epoch | other predictions | ensemble |" in page
    assert "| 75.00 | aggregated 87.50 | 70.00 |" in page
    assert "| 75.00 |  | 70.00 |" in page
    named = _changed(summary, model__width=5) | {"other_accuracies": {"fusion": 0.5, "x": 0.25}}
    page = _page(tmp_path / "named", capsys, named, _changed(named, seed=1))
    assert "| 75.00 ± 0.00 | fusion 50.00 ± 0.00, x 25.00 ± 0.00 | 70.00 ± 0.00 |" in page


@pytest.mark.parametrize(
    ("per_step", "batch", "steps", "words"),
    [
        (128, 128, 97_500, "12.5 M, 1 x batch"),
        (256, 128, 97_500, "25.0 M, 2 x batch"),
        (128, 32, 96_813, "12.4 M, 4 x batch"),
        (64, 64, 1_320, "84 k, 1 x batch"),
        (1, 1, 999_499, "999 k, 1 x batch"),
        (1, 1, 999_500, "1.0 M, 1 x batch"),
    ],
)
def test_a_row_says_how_many_images_were_read(
    tmp_path, summary, capsys, per_step, batch, steps, words
):
    run = _changed(summary, training__batch_size=batch)
    page = _page(tmp_path, capsys, run | {"images_per_step": per_step, "steps": steps})
    assert "| training | images read | n |" in page
    assert f"| {words} | 1 |" in page


def test_images_that_were_not_counted_have_no_number(tmp_path, summary, capsys):
    assert "images read" not in _page(tmp_path / "old", capsys, summary)
    counted = _changed(summary, model__width=3) | {"images_per_step": 128, "steps": 97_500}
    page = _page(tmp_path / "both", capsys, summary, counted)
    assert page.count("12.5 M, 1 x batch") == 1


def _distilled(summary, teacher_sha256, seed=0):
    config = default_config()
    use_cell(config, "method=knowledge_distillation")
    config.method.teacher, config.method.teacher_sha256 = f"runs/{seed}", teacher_sha256
    config.seed = seed
    described = to_dict(from_config_dict(config))
    return summary | {"method": "knowledge_distillation", "config": described, "seed": seed}


def test_students_of_one_kind_of_teacher_share_a_row(tmp_path, summary, capsys):
    teachers = [
        _changed(summary, seed=seed) | {"params_digest": digest}
        for seed, digest in enumerate(("aa" * 32, "bb" * 32))
    ]
    other = _changed(summary, model__width=3) | {"params_digest": "cc" * 32}
    students = [
        _distilled(summary, digest * 32, seed)
        for seed, digest in enumerate(("aa", "bb", "cc", "dd"))
    ]
    page = _page(tmp_path, capsys, *teachers, other, *students)
    rows = re.findall(r"^\| \d+ (\| knowledge_distillation \(.*)$", page, re.MULTILINE)
    taught = {row.split("|")[1].partition("teacher=")[2].strip(): row for row in rows}
    assert set(taught) == {
        "skdsam, else alike)",
        "skdsam on resnet18 (width=3), else alike)",
        "dddddddddddd...)",
    }
    assert "| 2 | 75.00 ± 0.00 |" in taught["skdsam, else alike)"]


def test_the_page_names_its_command(tmp_path, summary):
    _write(tmp_path / "the runs", summary)
    arguments = [str(tmp_path / "the runs"), "--out", str(tmp_path / "page.md")]
    assert main(arguments) == 0
    command = shlex.join(["python", "-m", "skdsam_jax", "report", *arguments])
    assert f"Made by `{command}`." in (tmp_path / "page.md").read_text()


def test_other_versions_are_named(tmp_path, summary, capsys):
    other = _changed(summary, seed=1) | {"versions": {"jax": "4.5.6"}}
    (row,) = _rows(_page(tmp_path, capsys, summary, other))
    assert row.endswith("1 x cpu (a CPU), jax 1.2.3 and 4.5.6 |")


def test_each_machine_says_how_fast_it_was(tmp_path, summary, capsys):
    """Seeds of any machine share a row; of several runs on one the extremes are named."""
    slow, fast = {"cpu": "Slow", "cpu_cores": 2}, {"cpu": "Fast", "cpu_cores": 64}
    made = [
        (slow, 50.0), (slow, 100.0), (slow, 80.0), (fast, 10_000.0), (summary["hardware"], None),
    ]  # fmt: skip
    runs = [
        _changed(summary, seed=seed)
        | {
            "steps": 1000,
            "images_per_second": rate,
            "hardware": {"device": "cpu", "devices": 1} | hardware,
        }
        for seed, (hardware, rate) in enumerate(made)
    ]
    (row,) = _rows(_page(tmp_path, capsys, *runs))
    machines = ("Fast, 64 cores", "Slow, 2 cores", "a CPU")
    hardware = "; ".join(f"1 x cpu ({machine}), jax 1.2.3" for machine in machines)
    assert row.endswith(f"| 10000; 50 to 100; - | 13 s; 21 min to 43 min; - | {hardware} |")


@pytest.mark.parametrize(
    ("rate", "words"),
    [(1281.0, "100 s"), (1279.0, "2 min"), (21.4, "100 min"), (21.3, "1.7 h"), (1285.0, "100 s")],
)
def test_the_time_of_training_has_a_readable_unit(tmp_path, summary, capsys, rate, words):
    """Of 1,000 steps of 128 images."""
    page = _page(tmp_path, capsys, summary | {"steps": 1000, "images_per_second": rate})
    assert f"| {rate:.0f} | {words} |" in page


def test_a_row_counts_images_by_whichever_run_did(tmp_path, summary, capsys):
    counted = _changed(summary, seed=1) | {"images_per_step": 128, "steps": 97_500}
    (row,) = _rows(_page(tmp_path, capsys, summary, counted))
    assert "| 12.5 M, 1 x batch | 2 |" in row


def test_markdown_keeps_its_columns_whatever_a_command_holds(tmp_path, summary, capsys):
    page = _page(tmp_path, capsys, summary | {"command": "train.py '--config.x=a|b'"})
    assert r"| 1 | 0 | `train.py '--config.x=a\|b'` |  |" in page


@pytest.mark.parametrize("text", [None, "{", "[]", '{"finished": false}'])
def test_no_finished_run_is_one_line(tmp_path, capsys, text):
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    assert main([str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1


def test_rows_are_numbered_and_their_commands_repeat_them(tmp_path, capsys, summary):
    """Of the lowest seed; a run that noted no command has none."""
    first = summary | {"command": "train.py --config.seed=0", "commit": "abc"}
    second = _changed(summary, seed=1) | {"command": "train.py --config.seed=1"}
    other = _changed(summary, method__energy="dot")
    page = _page(tmp_path, capsys, second, first, other)
    assert re.findall(r"^\| (\d+) \| (skdsam.*?) \|", page, re.MULTILINE) == [
        ("1", "skdsam"),
        ("2", "skdsam (energy=dot)"),
    ]
    commands = page.partition("## Commands that repeat a row\n")[2]
    assert commands.split("\n")[3:-2] == ["| 1 | 0 1 | `train.py --config.seed=0` | abc |"]


def test_accuracy_on_a_validation_split_has_a_column_where_there_is_one(tmp_path, capsys, summary):
    assert "| validation |" not in _page(tmp_path / "none", capsys, summary)
    held_out = [
        _changed(summary, seed=seed, data__validation_fraction=0.1)
        | {"validation": {"accuracy": accuracy}}
        for seed, accuracy in enumerate((0.5, 0.7))
    ]
    page = _page(tmp_path / "some", capsys, summary, *held_out)
    assert "| n | validation | last epoch |" in page
    assert "| 2 | 60.00 ± 14.14 | 75.00 ± 0.00 |" in page
