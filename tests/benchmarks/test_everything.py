"""The command that runs the others; commands of a line stand in for them."""

import json
import subprocess
import sys

import pytest

from benchmarks import everything
from benchmarks.everything import Part, parts, read, run_all
from benchmarks.findings import describe
from benchmarks.peaks import known_peak

# Writes its flags, as the real commands write what they measured.
STAND_IN = """
import json, pathlib, sys, time
what, *flags, file = sys.argv[1:]
if what == "hang":
    time.sleep(3600)
if what == "fail" and "instead" not in flags:
    sys.exit("there is no compiler")
pathlib.Path(file.removeprefix("--json=")).write_text(json.dumps({"flags": flags}))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return lambda name, *words, **options: Part(
        name, ("stand_in", *words), ("small",), **({"limit": 60} | options)
    )


def test_a_part_that_fails_or_hangs_does_not_stop_the_others(stand_in, tmp_path):
    chosen = [stand_in("a", "fail"), stand_in("b", "hang", limit=0.5), stand_in("c", "work")]
    said = []
    outcomes = run_all(chosen, tmp_path, "cpu", 600, say=said.append)
    assert [found["outcome"] for found in outcomes.values()] == [
        "failed with code 1: there is no compiler",
        "ended after 0 s",
        "measured",
    ]
    assert read(chosen, tmp_path, "cpu") == {"c": {"flags": []}}
    # What a part wrote is kept where it was not measured.
    assert sorted(path.name for path in tmp_path.glob("*.log")) == ["a.log", "b.log"]
    assert said[-1].startswith("c: measured, ")


def test_another_attempt_is_made_where_there_is_one(stand_in, tmp_path):
    part = stand_in("a", "fail", instead=("instead",))
    outcomes = run_all([part], tmp_path, "gpu", 600, small=True, say=list)
    assert outcomes["a"]["outcome"] == "measured"
    assert json.loads((tmp_path / "a_gpu.json").read_text()) == {"flags": ["small", "instead"]}


def test_nothing_begins_when_the_time_is_up(stand_in, tmp_path):
    chosen = [stand_in("a", "hang"), stand_in("b", "work")]
    outcomes = run_all(chosen, tmp_path, "cpu", 1.0, least=0.5, say=list)
    assert outcomes["a"]["outcome"] == "ended after 1 s"
    assert outcomes["b"] == {"outcome": "no time left", "seconds": 0.0}


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_every_part_is_a_command_that_takes_its_flags(platform):
    """Asked for its help behind them: a parser looks at what comes first."""
    modules = {part.arguments[0] for part in parts(platform)}
    assert len({part.name for part in parts(platform)}) == len(parts(platform))
    for module in sorted(modules - {"benchmarks.checks", "benchmarks.dispatch"}):
        main = __import__(module, fromlist=["main"]).main
        for part in parts(platform):
            if part.arguments[0] == module:
                with pytest.raises(SystemExit) as ended:
                    main([*part.arguments[1:], *part.small, *part.instead, "--help"])
                assert ended.value.code == 0


def test_a_mistake_ends_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr(everything, "find_platform", lambda: "cpu")
    with pytest.raises(SystemExit):
        everything.main(["--only", "train_stp"])
    assert "--only: unknown part train_stp; known are train_step" in capsys.readouterr().err


HARDWARE = {"platform": "gpu", "device": "NVIDIA H200"}
RESULTS = {
    "train_step": {
        "settings": {"model": "resnet18", "compute_dtype": "bfloat16"},
        "hardware": HARDWARE,
        "ratios": {
            "skdsam: skdsam_jax over pytorch_eager": {"median": 2.5, "minimum": 2, "maximum": 3},
            "skdsam_jax: skdsam over cross_entropy": {"median": 0.9, "minimum": 0, "maximum": 1},
        },
        "methods": {
            "skdsam": {
                "flops_per_image": 3e9,
                "implementations": {
                    "skdsam_jax": {
                        "images_per_second": 32967.0,
                        "share_of_matrix_peak": 0.125,
                        "peak_memory_bytes": 2**30,
                        "first_step_seconds": 40.0,
                    }
                },
            }
        },
    },
    "epoch": {
        "hardware": HARDWARE,
        "model": "resnet18",
        "method": "skdsam",
        "epoch_seconds": [2.0, 4.0],
        "first_epoch_seconds": 60.0,
        "images_per_second_of_epoch": 25000.0,
        "predicted_seconds": 660.0,
    },
    "dispatch": {
        "settings": {"method": "skdsam"},
        "images_per_second": {"1": 100.0, "100": 150.0},
        "speed_over_the_first": {"1": 1.0, "100": 1.5},
    },
    "checks": {"methods": {"skdsam": {"holds": {"state used up": False}}}},
    "startup_digits": {"cold_seconds": 60.0, "warm_seconds": [9.0, 11.0]},
}


@pytest.mark.parametrize(
    "line",
    [
        "resnet18, skdsam: skdsam_jax over pytorch_eager|at least 2|2.50 (2.00 to 3.00)",
        "resnet18, skdsam_jax: skdsam over cross_entropy|0.90 (0.00 to 1.00)",
        "resnet18, skdsam, skdsam_jax|32,967 images/s, 12.5% of measured peak, 10.0% of the "
        "card's, 1.00 GiB, first step 40.0 s",
        "resnet18, skdsam, a whole epoch|3.00 s an epoch, 25,000 images/s with evaluation, the "
        "first after 60.0 s",
        "resnet18, skdsam, 250 epochs|at most 10 min|11.0 min",
        "skdsam, 100 step(s) per call|150 images/s, 1.50 times the first",
        "skdsam, state used up|yes|NO",
        "command to first step, the second time|10.0 s",
    ],
)
def test_the_table_says_what_was_aimed_at_and_measured(line):
    lines = [
        "|".join(part for part in row.split("  ") if part) for row in describe(RESULTS).split("\n")
    ]
    assert line in [row.replace("| ", "|") for row in lines]


def test_nothing_measured_is_said():
    assert describe({}) == "nothing was measured"


@pytest.mark.parametrize(
    ("device", "peak"),
    [("NVIDIA H200", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA A100-SXM4-80GB", 312e12)],
)
def test_peaks_are_found_by_name(device, peak):
    assert known_peak(device, "bfloat16") == peak
    assert known_peak(device, "float32") is None
    assert known_peak("cpu", "bfloat16") is None


@pytest.mark.slow
def test_a_real_part_works_when_small(tmp_path):
    """Of commands that no other test runs; the others' take minutes to compile."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.everything", "--small", "--minutes=60",
         "--only", "epoch", f"--folder={tmp_path}"],
        cwd=everything.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_cpu.json"]
    assert "skdsam, 250 epochs" in done.stdout
