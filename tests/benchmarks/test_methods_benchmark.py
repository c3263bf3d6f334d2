"""The command that measures the cost of a step, and the page that it fills in."""

import json
import pathlib
import re

import pytest

from benchmarks import methods, methods_doc
from skdsam_jax.methods import METHODS

ROOT = pathlib.Path(__file__).parents[2]
PAGE = methods_doc.PAGE.read_text()

MEASURED = {
    "command": "python -m benchmarks.methods --width 4",
    "settings": {
        "model": "resnet18",
        "width": 4,
        "batch_size": 8,
        "image_size": 16,
        "compute_dtype": "float32",
        "convolution": "winograd",
        "repeats": 3,
    },
    "hardware": {"device": "cpu", "cpu": "a CPU", "cpu_cores": 2},
    "versions": {"jax": "1.2.3"},
    "methods": {
        "cross_entropy": {"cost": {"median": 1.0}},
        "dlb": {"cost": {"median": 2.125}},
    },
}


def _row(page, name):
    table = page.partition(methods_doc.BEGIN)[2].partition(methods_doc.END)[0]
    (line,) = (line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.slow
def test_the_page_is_what_code_and_measurements_say():
    assert methods_doc.rewrite(PAGE, methods_doc.load_measured()) == PAGE


def test_every_method_has_a_paragraph_and_a_name_in_the_readme():
    assert sorted(re.findall(r"^\*\*`(\w+)`\*\*", PAGE, re.MULTILINE)) == sorted(METHODS)
    table = (ROOT / "README.md").read_text().partition("| what teaches |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", table.partition("\n")[2])) == sorted(METHODS)


# Counted in public code, or by hand from the layers that its authors describe.
@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("cs_kd", 0),
        ("skdsam", 1_063_212 + 2_105_344),
        ("byot", 1_788_716),
        ("sla_sd", (512 + 1) * 400),
        ("uskd", (256 + 1) * 100),
        ("frskd", 6_375_794),
        ("dks", 919_040 + 2 * 8_393_728 + 2 * 51_300),
        ("msd", 4_822_272 + 4_592_128 + 3_673_088 + 3 * 51_300),
        ("lightskd", 35_840 + 254_976 + 51_300),
        ("okddip", 3 * (8_393_728 + 51_300) + 2 * 512 * 64),
        ("mixskd", 30_060_076 + 1_099_876 + 4 * 65_922),
        ("knowledge_distillation", 0),
    ],
)
def test_extra_parameters(name, extra):
    assert methods_doc.extra_parameters(name) == extra
    assert f"{extra:,}" in _row(PAGE, name)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("cross_entropy", 0),
        ("ps_kd", 50_000 * 100 * 4),
        ("dlb", 128 * 100 * 4 + 128 * 4),
        ("lightskd", 128 * 100 * 4),
    ],
)
def test_memory(name, size):
    assert methods_doc.memory_bytes(name) == size


def test_costs_come_from_what_was_measured():
    page = methods_doc.rewrite(PAGE, MEASURED)
    assert (_row(page, "dlb")[6], _row(page, "cross_entropy")[6]) == ("2.12", "1.00")
    assert _row(page, "byot")[6] == ""  # Nobody measured it.
    assert (
        "\nCosts: `python -m benchmarks.methods --width 4`, resnet18 of width 4, 8 anchors a step, "
        "16 pixels, float32, winograd convolutions, medians of 3 turns; "
        "cpu (a CPU, 2 cores), jax 1.2.3.\n<!--"
    ) in page
    unmeasured = methods_doc.rewrite(page, None)
    assert _row(unmeasured, "dlb")[6] == ""
    assert "The cost of a step has not been measured yet." in unmeasured
    # All else is as it was.
    assert methods_doc.rewrite(unmeasured, methods_doc.load_measured()) == PAGE


def test_a_page_without_its_table_is_refused():
    with pytest.raises(ValueError, match="the page has no lines <!-- partly made by"):
        methods_doc.rewrite(PAGE.replace(methods_doc.BEGIN, ""), None)
    without = "".join(line for line in PAGE.splitlines(True) if not line.startswith("| `dlb` |"))
    with pytest.raises(ValueError, match=r"the rows are not the methods: \['dlb'\]"):
        methods_doc.rewrite(without, None)


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path, capsys):
    file = tmp_path / "result.json"
    size = ["--width", "4", "--batch_size", "8", "--image_size", "16", "--examples", "2000"]
    effort = ["--method", "knowledge_distillation", "bake", "--repeats", "2", "--steps", "1"]
    assert methods.main([*size, *effort, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert list(result["methods"]) == ["cross_entropy", "knowledge_distillation", "bake"]
    for measured in result["methods"].values():
        assert len(measured["seconds_per_step"]) == 2
        assert all(seconds > 0 for seconds in measured["seconds_per_step"])
    assert result["methods"]["cross_entropy"]["cost"]["median"] == 1
    assert result["methods"]["bake"]["images_per_anchor"] == 4
    assert "bake" in capsys.readouterr().out
    assert "anchors a step" in methods_doc.rewrite(PAGE, result)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method", "nothing"], "invalid choice: 'nothing'"),
        (["--width", "0"], "argument --width: invalid whole number above 0 value"),
    ],
)
def test_a_mistake_ends_in_one_line(flags, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        methods.main(flags)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_costs_are_ratios_within_a_turn():
    fake = {"cross_entropy": [1.0, 2.0, 4.0], "dlb": [2.0, 6.0, 8.0]}
    assert methods.cost_of(fake["dlb"], fake["cross_entropy"]) == {
        "median": 2.0,
        "minimum": 2.0,
        "maximum": 3.0,
    }
