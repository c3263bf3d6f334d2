"""What a sweep will run: the table of all methods, and how many images each run reads."""

import json
import pathlib

import pytest
from config_files import CONFIGS, experiment_of

from skdsam_jax.commands import command_line, sweep
from skdsam_jax.commands.sweep_plan import plan
from skdsam_jax.experiment.config import from_config_dict, to_dict
from skdsam_jax.experiment.full_study import FULL_STUDY
from skdsam_jax.experiment.peers_table import FAMILIES, peers_table
from skdsam_jax.experiment.tables import Cell
from skdsam_jax.methods import METHODS
from skdsam_jax.options import ConfigError

# ml_collections' loader of config files.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

RUNS = pathlib.Path("runs")


def _experiment(run):
    """What `train.py` makes of a run's flags."""
    argv = ["train.py", *(flag for flag in run.flags if not flag.startswith("--workdir="))]
    values = command_line.define_config_flag(argv)
    command_line.parse(argv, values, {})
    return from_config_dict(values["config"].value)


def _runs(*overrides, seeds=(0,), family="cifar100", **settings):
    """By method."""
    runs = plan(peers_table(family).cells, seeds, RUNS, overrides, **settings)
    return {_experiment(run).method.name: run for run in runs}


def test_families_are_the_config_files():
    assert sorted(FAMILIES) == sorted(CONFIGS)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_is_a_row_on_every_set(family):
    cells = peers_table(family, "wrn16_2").cells
    experiments = [experiment_of(cell) for cell in cells]
    assert sorted(experiment.method.name for experiment in experiments) == sorted(METHODS)
    assert {experiment.model.name for experiment in experiments} == {"wrn16_2"}
    assert len({cell.name for cell in cells}) == len(cells)


def test_the_full_study_has_every_experiment_once_and_computes_in_bfloat16():
    experiments = [experiment_of(cell) for cell in FULL_STUDY.cells]
    assert all(experiments.count(experiment) == 1 for experiment in experiments)
    assert len({cell.name for cell in FULL_STUDY.cells}) == len(experiments) == 33
    assert {experiment.training.compute_dtype for experiment in experiments} == {"bfloat16"}
    assert {experiment.training.epochs for experiment in experiments} == {250}
    lab = [cell.name for cell in FULL_STUDY.cells if experiment_of(cell).data.autoaugment]
    assert lab == ["cross_entropy-lab", "byot-lab", "skdsam-lab"]


def test_rows_take_what_was_published_for_a_set():
    def method(name, family):
        (cell,) = (cell for cell in peers_table(family).cells if cell.name.startswith(f"{name}-"))
        return experiment_of(cell).method

    assert [method("bake", family).omega for family in ("cub200", "dogs")] == [0.5, 0.9]
    assert [method("bake", family).companions for family in ("cub200", "mit67")] == [3, 1]
    assert [method("zipf", family).weight for family in ("cifar100", "tiny_imagenet")] == [0.1, 1]
    assert method("cs_kd", "stanford40").weight == 3


def test_the_baseline_is_first_and_teaches_with_the_same_seed():
    runs = plan(peers_table().cells, [4, 7], RUNS)
    assert _experiment(runs[0]).method.name == "cross_entropy"
    learners = {run.folder.name: run for run in runs if run.teacher is not None}
    assert set(learners) == {"seed-4", "seed-7"}
    for seed, run in learners.items():
        method = _experiment(run).method
        assert method.name == "knowledge_distillation"
        assert method.teacher == str(run.teacher) == f"runs/cross_entropy-resnet18-cifar100/{seed}"
        folders = [other.folder for other in runs]
        assert folders.index(run.teacher) < folders.index(run.folder)


@pytest.mark.parametrize(
    ("method", "batch", "reads"),
    [
        ("cross_entropy", 128, "128 images a step (1 x 128), the training set 250 times in 250 ep"),
        ("dlb", 128, "256 images a step (2 x 128), the training set 500 times in 250 epochs"),
        ("sla_sd", 128, "512 images a step (4 x 128), the training set 1000 times in 250 epochs"),
        ("bake", 32, "128 images a step (4 x 32), the training set 1000 times in 250 epochs"),
    ],
)
def test_a_run_says_what_it_reads(method, batch, reads):
    run = _runs()[method]
    assert run.reads.startswith(reads)
    training = _experiment(run).training
    assert (training.batch_size, training.epochs) == (batch, 250)


@pytest.mark.parametrize(
    ("family", "flags", "batch"),
    [
        ("cifar100", ["--config.training.batch_size=64"], 16),
        ("cifar100", ["--config.training.batch_size=2"], 1),
        ("dogs", [], 64),
    ],
)
def test_anchors_are_the_share_of_a_batch_that_companions_leave(family, flags, batch):
    assert _experiment(_runs(*flags, family=family)["bake"]).training.batch_size == batch


@pytest.mark.parametrize(
    ("asked", "epochs"),
    [
        (None, {"byot": 250, "cs_kd": 125, "bake": 62, "skdsam_sla": 62}),
        (10, {"byot": 10, "cs_kd": 5, "bake": 2, "skdsam_sla": 2}),
        (1, {"byot": 1, "cs_kd": 1, "bake": 1, "skdsam_sla": 1}),
    ],
)
def test_equal_images_shorten_the_epochs_of_those_that_read_more(asked, epochs):
    flags = [] if asked is None else [f"--config.training.epochs={asked}"]
    runs = _runs(*flags, equal_images=True)
    found = {name: _experiment(runs[name]).training.epochs for name in epochs}
    assert found == epochs
    assert f"in {epochs['bake']} epoch" in runs["bake"].reads


def test_equal_images_have_folders_of_their_own_where_they_differ():
    plain, equal = _runs(), _runs(equal_images=True)
    shared = {name for name in METHODS if plain[name].folder == equal[name].folder}
    assert {name for name in METHODS if plain[name].flags == equal[name].flags} == shared
    assert shared >= {"cross_entropy", "knowledge_distillation", "skdsam", "ps_kd"}
    assert not shared & {"bake", "cs_kd", "ddgsd", "dlb", "mixskd", "skdsam_sla", "sla_sd"}
    assert equal["cs_kd"].folder == RUNS / "cs_kd-resnet18-cifar100-equal_images" / "seed-0"


def test_a_cell_that_cannot_run_is_named_before_anything_runs():
    cells = [Cell("good", "configs/digits.py:"), Cell("bad", "configs/digits.py:method=byt")]
    with pytest.raises(ConfigError, match=r"^bad: .*unknown method 'byt'; did you mean byot\?$"):
        plan(cells, [0], RUNS)


def test_flags_are_the_cells_experiment_and_the_seed():
    (run,) = plan([Cell("a", "configs/digits.py:", (("method.temperature", 2.0),))], [5], RUNS)
    expected = to_dict(experiment_of(Cell("a", "configs/digits.py:")))
    expected["seed"], expected["method"]["temperature"] = 5, 2.0
    assert to_dict(_experiment(run)) == expected
    assert run.folder == RUNS / "a" / "seed-5"


# Finishes at once, but for methods whose names are in a file beside it; another has the configs.
TRAIN = """
import json, pathlib, sys
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
folder = pathlib.Path(flags["workdir"])
folder.mkdir(parents=True, exist_ok=True)
broken = pathlib.Path(__file__).with_name("broken").read_text().split()
if any(folder.parent.name.startswith(name) for name in broken):
    sys.exit(3)
configs = json.loads(pathlib.Path(__file__).with_name("configs").read_text())
summary = {"finished": True, "config": configs[folder.parent.name]}
(folder / "summary.json").write_text(json.dumps(summary))
"""


def _sweep(tmp_path, broken=""):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "broken").write_text(broken)
    runs = plan(peers_table("digits", "wrn16_1").cells, [0], tmp_path)
    configs = {run.folder.parent.name: to_dict(run.experiment) for run in runs}
    (tmp_path / "configs").write_text(json.dumps(configs))
    flags = ["--table=peers", "--family=digits", "--seeds=0", "--backbone=wrn16_1"]
    folders = [f"--workdir={tmp_path / 'runs'}", f"--train={tmp_path / 'train.py'}"]
    return sweep.main([*flags, *folders])


def test_who_has_no_teacher_waits_for_the_next_sweep(tmp_path, capfd):
    assert _sweep(tmp_path, "cross_entropy") == 1
    output, errors = capfd.readouterr()
    lines = errors.splitlines()
    assert "cross_entropy-wrn16_1-digits/seed-0: failed with code 3" in lines[0]
    assert "knowledge_distillation-wrn16_1-digits/seed-0: not begun, as its teacher " in lines[1]
    assert f"table peers: {len(METHODS) - 2} of {len(METHODS)} runs are finished" in output
    assert _sweep(tmp_path) == 0
    output, errors = capfd.readouterr()
    assert output.count("finished already") == len(METHODS) - 2
    assert "64 images a step (1 x 64), the training set 60 times in 60 epochs: --config" in output
    assert errors == ""
