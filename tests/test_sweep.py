"""Tables as runs: every cell is a valid experiment, and the runner goes on whatever happens."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from config_files import ROOT, experiment_of
from patience import HANGING

from skdsam_jax.commands import sweep
from skdsam_jax.experiment.config import to_dict
from skdsam_jax.experiment.thesis_tables import TABLES

# ml_collections' loader of config files.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

# In the order of the thesis' rows.
COMPARED = ["cross_entropy", "ddgsd", "byot", "cs_kd", "sla_sd", "frskd", "skdsam"]


@pytest.fixture(autouse=True)
def prepared(tmp_path, monkeypatch):
    """A folder where CIFAR-100 seems to be prepared; nothing reads it."""
    folder = tmp_path / "prepared" / "cifar100" / "3.0.2"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text('{"fileFormat": "array_record"}')
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
    return folder


# Finishes at once, writes what it was called with; for the cell called beta200 it says that its
# numbers stopped being finite.
TRAIN = """
import json, os, pathlib, sys
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
folder = pathlib.Path(flags["workdir"])
folder.mkdir(parents=True, exist_ok=True)
flags["device"] = os.environ.get("DEVICE_OF_A_RUN")
print("on device", flags["device"])
with (folder / "calls").open("a") as file:
    file.write(json.dumps(flags) + "\\n")
if "beta200" in str(folder):
    failure = {"finished": False, "failure": "step 7 was not finite"}
    (folder / "summary.json").write_text(json.dumps(failure))
    (folder / "metrics.jsonl").write_text("")
    sys.exit(3)
config = json.loads(CONFIG)
for name, value in flags.items():
    if name.startswith("config."):
        section, _, field = name.removeprefix("config.").rpartition(".")
        (config[section] if section else config)[field] = json.loads(value)
(folder / "summary.json").write_text(json.dumps({"finished": True, "config": config}))
"""


@pytest.mark.parametrize("table", TABLES)
def test_every_cell_is_an_experiment_of_its_own(table):
    cells = TABLES[table].cells
    assert len({cell.name for cell in cells}) == len(cells)
    experiments = [json.dumps(to_dict(experiment_of(cell)), sort_keys=True) for cell in cells]
    assert len(set(experiments)) == len(cells)


@pytest.mark.parametrize(
    ("table", "size"),
    [
        *(("4.3", 5), ("4.4", 9), ("4.5", 6), ("4.6", 7), ("4.7", 16), ("4.8", 16), ("4.9", 14)),
        *(("4.10", 32), ("4.11", 21), ("4.12", 9), ("4.13", 4), ("4.14", 4), ("4.15", 8)),
        *(("4.16", 6), ("4.17", 6), ("4.18", 6), ("4.19", 6), ("4.20", 5), ("4.21", 4)),
    ],
)
def test_tables_have_the_thesis_size(table, size):
    assert len(TABLES[table].cells) == size


@pytest.mark.parametrize(
    ("table", "methods"),
    [
        *((table, COMPARED) for table in ("4.9", "4.11")),
        *((table, [*COMPARED, "skdsam-cutout"]) for table in ("4.7", "4.8", "4.10")),
    ],
)
def test_tables_compare_every_method_of_the_thesis_on_every_set(table, methods):
    rows = {}
    for cell in TABLES[table].cells:
        method, _, family = cell.name.rpartition("-")
        rows.setdefault(family, []).append(method)
        name = experiment_of(cell).method.name
        assert name == method.removesuffix("-cutout")
    assert all(found == methods for found in rows.values())


def test_tables_name_the_files_of_their_data_sets():
    for table in TABLES.values():
        for cell in table.cells:
            path = cell.config.partition(":")[0]
            assert (ROOT / path).is_file(), cell.config
            if "-" in cell.name and "cifar100" not in path:
                assert cell.name.endswith("-" + path.removeprefix("configs/")[:-3])


def test_cells_change_what_they_are_named_for():
    cells = {(number, cell.name): cell for number in TABLES for cell in TABLES[number].cells}
    cutout = experiment_of(cells["4.10", "skdsam-cutout-stanford40"])
    assert (cutout.data.name, cutout.data.cutout) == ("stanford40_actions", "mean")
    assert (cutout.data.pipeline, cutout.model.stem) == ("streaming", "imagenet")
    without = experiment_of(cells["4.14", "without-attention-tiny_imagenet"])
    assert (without.model.name, without.method.energy) == ("wrn16_2", "uniform")
    assert (without.data.image_size, without.data.crop) == (32, "resized")
    san = experiment_of(cells["4.12", "san15"])
    assert (san.model.name, san.model.san_kind, san.method.name) == ("san15", None, "cross_entropy")
    decays = experiment_of(cells["4.5", "ce0.6-kl1.1-feature1"]).method
    assert (decays.name, decays.decay_ce, decays.decay_kl) == ("pd_byot", 0.6, 1.1)
    temperatures = experiment_of(cells["4.15", "T1-attention3"]).method
    assert (temperatures.temperature, temperatures.attention_temperature) == (1.0, 3.0)
    cs_kd = [experiment_of(cells["4.10", f"cs_kd-{name}"]).method for name in ("dogs", "cub200")]
    assert [method.weight for method in cs_kd] == [3.0, 3.0]
    assert experiment_of(cells["4.7", "cs_kd-tiny_imagenet"]).method.weight == 1.0
    frskd = [experiment_of(cells["4.7", f"frskd-{name}"]) for name in ("cifar100", "tiny_imagenet")]
    assert [experiment.method.distillation_weight for experiment in frskd] == [2.0, 3.0]
    sla = experiment_of(cells["4.19", "skdsam-sla-tiny_imagenet"])
    assert (sla.method.name, sla.model.name) == ("skdsam_sla", "wrn16_2")


def _run(tmp_path, *flags, seeds="0,1"):
    config = json.dumps(to_dict(experiment_of(TABLES["4.21"].cells[0])))
    (tmp_path / "train.py").write_text(TRAIN.replace("CONFIG", repr(config)))
    return sweep.main(
        [
            "--table=4.21",
            f"--seeds={seeds}",
            f"--workdir={tmp_path / 'runs'}",
            f"--train={tmp_path / 'train.py'}",
            *flags,
        ]
    )


def _calls(tmp_path, cell, seed):
    lines = (tmp_path / "runs" / cell / f"seed-{seed}" / "calls").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_failed_cell_does_not_stop_the_others(tmp_path, capfd):
    assert _run(tmp_path, "--config.training.epochs=3") == 1
    output, errors = capfd.readouterr()
    assert "6 of 8 runs are finished" in output
    assert errors.count("failed with code 3") == 2
    (call,) = _calls(tmp_path, "beta500", 1)
    assert call["config.method.feature_weight"] == "500.0"
    assert call["config"] == "configs/cifar100.py:method=skdsam"
    assert call["config.seed"] == "1"
    assert call["config.training.epochs"] == "3"
    assert call["device"] is None
    assert re.search(r"^1 of 8 runs are finished, about 0:00 hours left$", output, re.MULTILINE)


def test_a_run_that_is_not_finite_leaves_a_record_and_is_tried_again(tmp_path):
    flags = ["--cells=beta200", f"--done={tmp_path / 'records'}"]
    assert _run(tmp_path, *flags, seeds="0") == 1
    record = tmp_path / "records" / "beta200" / "seed-0"
    kept = {path.name for path in record.iterdir()}
    assert kept == {"metrics.jsonl", "summary.json"}
    assert json.loads((record / "summary.json").read_text())["failure"] == "step 7 was not finite"
    assert _run(tmp_path, *flags, seeds="0") == 1
    assert len(_calls(tmp_path, "beta200", 0)) == 2


def test_finished_runs_are_skipped_and_others_tried_again(tmp_path):
    _run(tmp_path)
    _run(tmp_path)
    assert len(_calls(tmp_path, "beta50", 0)) == 1
    assert len(_calls(tmp_path, "beta200", 0)) == 2


def test_a_choice_of_cells(tmp_path, capfd):
    assert _run(tmp_path, "--cells=beta50,beta1*", seeds="3") == 0
    assert "2 of 2 runs are finished" in capfd.readouterr().out
    folders = {path.parent.name for path in tmp_path.glob("runs/*/seed-3")}
    assert folders == {"beta50", "beta100"}


def test_a_dry_run_shows_the_runs_and_begins_none(tmp_path, capfd):
    _run(tmp_path, seeds="0")
    before = sorted(tmp_path.rglob("*"))
    capfd.readouterr()
    assert _run(tmp_path, "--dry_run") == 0
    output, errors = capfd.readouterr()
    assert errors == ""
    assert output.count("/seed-0: finished already: --config=configs/cifar100.py") == 3
    assert output.count("/seed-1: 128 images a step (1 x 128), ") == 4
    assert output.endswith("table 4.21: 3 of 8 runs are finished; nothing was begun\n")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("flags", [[], ["--dry_run"]])
def test_data_that_is_missing_is_said_before_the_first_run(tmp_path, capfd, prepared, flags):
    """Of a table with two sets the second is missing; the reason stands once for all its runs."""
    assert _run(tmp_path, "--table=4.13", *flags) == 2
    errors = capfd.readouterr().err
    missing = tmp_path / "runs" / "skdsam-tiny_imagenet" / "seed-0"
    expected = f"error: {missing}: config.data.name: tiny_imagenet is not prepared in "
    assert errors.startswith(expected)
    assert errors.count("is not prepared") == errors.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    (prepared / "dataset_info.json").unlink()
    assert _run(tmp_path, "--table=4.13", *flags) == 2
    assert capfd.readouterr().err.count("is not prepared") == 2


def test_finished_runs_need_no_data(tmp_path, prepared):
    cells = "--cells=beta50,beta100,beta500"
    assert _run(tmp_path, cells) == 0
    (prepared / "dataset_info.json").unlink()
    assert _run(tmp_path, cells) == 0


def test_every_device_has_a_run_of_its_own(tmp_path, capfd):
    flags = ["--devices=0,2+3", "--device_variable=DEVICE_OF_A_RUN"]
    assert _run(tmp_path, *flags, seeds="0,1,2") == 1
    output, errors = capfd.readouterr()
    assert "9 of 12 runs are finished" in output
    failed = tmp_path / "runs" / "beta200" / "seed-1"
    assert f"{failed}: failed with code 3; see {failed}.log\n" in errors
    assert errors.count("failed with code 3") == 3
    assert "on device" not in output
    devices = [
        _calls(tmp_path, cell, seed)[0]["device"]
        for cell in ("beta50", "beta100", "beta200", "beta500")
        for seed in range(3)
    ]
    assert set(devices) == {"0", "2,3"}
    log = tmp_path / "runs" / "beta50" / "seed-0.log"
    assert log.read_text() == f"on device {_calls(tmp_path, 'beta50', 0)[0]['device']}\n"


# Waits until another run is there too, which one at a time would wait for for ever.
TOGETHER = """
import json, pathlib, sys, time
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
folder = pathlib.Path(flags["workdir"])
folder.mkdir(parents=True, exist_ok=True)
while len(list(folder.parents[1].glob("*/seed-0/"))) < 2:
    time.sleep(0.02)
(folder / "summary.json").write_text(json.dumps({"finished": True}))
"""


def test_runs_on_two_devices_are_made_at_the_same_time(tmp_path):
    (tmp_path / "train.py").write_text(TOGETHER)
    flags = ["--table=4.21", "--seeds=0", "--cells=beta50,beta100", "--devices=0,1"]
    folders = [f"--workdir={tmp_path / 'runs'}", f"--train={tmp_path / 'train.py'}"]
    assert sweep.main([*flags, *folders]) == 0


def test_runs_are_those_of_this_package_if_nothing_else_is_said(tmp_path, monkeypatch):
    programs = []

    def run_all(runs, program, lanes):
        programs.append(program)
        return len(runs), []

    monkeypatch.setattr(sweep, "run_all", run_all)
    assert sweep.main(["--table=4.21", f"--workdir={tmp_path / 'runs'}"]) == 0
    assert programs == [[sys.executable, "-m", "skdsam_jax", "train"]]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--table=9.9"], "--table: unknown table '9.9'"),
        (["--seeds=a"], "--seeds: takes numbers"),
        (["--epochs=3"], "--epochs=3: unknown flag; did you mean --config.training.epochs=3?"),
        (["--cells=beta5"], "--cells: no cell is called 'beta5'; did you mean beta50?"),
        (["--cells=beta50,x*"], "--cells: no cell is called 'x*'; known are beta100, beta200, b"),
        (["--devices=0,0"], "--devices: takes different names separated by commas, not '0,0'"),
        (["--devices="], "--devices: takes different names separated by commas, not ''"),
        (
            ["--table=peers", "--cells=knowledge*"],
            "--cells: knowledge_distillation-resnet18-cifar100 learns from cross_entropy-resnet18-",
        ),
        (["--config.seed=7"], "--config.seed: every run has its own; use --seeds"),
        (["--train=nowhere.py"], "there is no nowhere.py here"),
        (["--table=peer"], "--table: unknown table 'peer'; did you mean peers?"),
        (["--family=dogs"], "--family: only for --table peers; table 4.21 has its own"),
        (["--backbone=resnet34"], "--backbone: only for --table peers; table 4.21 has its own"),
        (["--table=peers", "--family=birds"], "--family: unknown value 'birds'; known are cifar1"),
        (["--table=peers", "--backbone=x"], "config.model.name: unknown backbone 'x'"),
        (["--config.training.epoch=3"], "beta50: config.training.epoch: unknown field"),
        (["--config.method.alpha=0.5"], "beta50: config.method.alpha: no option of skdsam"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capfd, flags, message):
    assert _run(tmp_path, *flags) == 2
    errors = capfd.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


# Runs until it is asked to stop, as `train.py` does, and takes long to save.
SLOW_TRAIN = """
import pathlib, signal, sys, time
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
folder = pathlib.Path(flags["workdir"])
folder.mkdir(parents=True)
requested = False
def note(number, frame):
    global requested
    if requested and number == signal.SIGINT:
        raise KeyboardInterrupt
    requested = True
signal.signal(signal.SIGTERM, note)
signal.signal(signal.SIGINT, note)
(folder / "started").touch()
while not requested:
    time.sleep(0.02)
time.sleep(1)
(folder / "saved").touch()
sys.exit(75)
"""


@pytest.mark.parametrize(
    ("send", "number", "devices"),
    [
        pytest.param(os.kill, signal.SIGTERM, (), id="SIGTERM"),
        pytest.param(os.kill, signal.SIGINT, (), id="SIGINT", marks=pytest.mark.slow),
        pytest.param(os.killpg, signal.SIGINT, (), id="Ctrl-C"),
        pytest.param(
            os.kill,
            signal.SIGTERM,
            ("--devices=0,1",),
            id="two devices",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_stopping_waits_until_the_runs_have_saved(tmp_path, send, number, devices):
    (tmp_path / "train.py").write_text(SLOW_TRAIN)
    folders = (f"--workdir={tmp_path / 'runs'}", f"--train={tmp_path / 'train.py'}")
    flags = ("--table=4.21", *folders, *devices)
    process = subprocess.Popen(
        [sys.executable, "-m", "skdsam_jax", "sweep", *flags],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "none"},  # A sweep leaves the devices to its runs.
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        while len(list(tmp_path.glob("runs/*/*/started"))) < 1 + len(devices):
            assert process.poll() is None
            time.sleep(0.02)
        send(process.pid, number)
        _, errors = process.communicate(timeout=HANGING)
        assert (process.returncode, errors) == (75, "stopped; the same command goes on\n")
        started = list(tmp_path.glob("runs/*/*/started"))
        assert len(started) == 1 + len(devices)
        assert all(path.with_name("saved").exists() for path in started)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_the_signals_mean_what_they_meant_before(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert _run(tmp_path) == 1
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_run_that_was_stopped_alone_stops_the_sweep(tmp_path, capfd):
    (tmp_path / "train.py").write_text("import sys; sys.exit(75)")
    flags = ("--table=4.21", f"--workdir={tmp_path / 'runs'}", f"--train={tmp_path / 'train.py'}")
    assert sweep.main(flags) == 75
    output, errors = capfd.readouterr()
    assert errors == "stopped; the same command goes on\n"
    assert len(output.splitlines()) == 1
