"""Records stand for runs whose workdirs are gone; the tables of the small study."""

import dataclasses
import json
import pathlib

import pytest
from config_files import experiment_of

from skdsam_jax.commands import sweep
from skdsam_jax.commands.sweep_plan import plan
from skdsam_jax.commands.sweep_records import check_finished, is_finished, keep_record, unfinished
from skdsam_jax.experiment.config import to_dict
from skdsam_jax.experiment.small_study import SMALL_TABLES
from skdsam_jax.methods import METHODS
from skdsam_jax.options import ConfigError

# ml_collections' loader of config files.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

STUDENT, TEACHER = "knowledge_distillation", "cross_entropy"


def _runs(tmp_path, *only, seeds=(0,), **settings):
    cells = SMALL_TABLES["small-peers"].cells
    records = tmp_path / "records"
    return plan(cells, seeds, tmp_path / "runs", only=only, records=records, **settings)


def _finish(folder, run, **changes):
    """Writes what a run leaves that took all its epochs."""
    config = to_dict(run.experiment)
    for field, value in changes.items():
        section, _, name = field.partition("__")
        config[section][name] = value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"finished": True, "config": config}))
    (folder / "metrics.jsonl").write_text('{"epoch": 0}\n')


def _names(runs):
    return [run.folder.parent.name for run in runs]


def test_a_record_stands_for_a_run(tmp_path):
    runs = _runs(tmp_path, "byot", "dks", "msd")
    _finish(runs[0].record, runs[0])
    _finish(runs[1].folder, runs[1])
    check_finished(runs)
    assert _names(unfinished(runs)) == ["msd"]


def test_what_a_run_fills_in_is_no_difference(tmp_path):
    """The tables name a form of convolution; here stands a cell that does not."""
    (run,) = _runs(tmp_path, "byot")
    model = dataclasses.replace(run.experiment.model, convolution=None)
    run = dataclasses.replace(run, experiment=dataclasses.replace(run.experiment, model=model))
    for form in ("direct", "winograd"):
        _finish(run.record, run, model__convolution=form)
        check_finished([run])
    _finish(run.record, run, model__convolution="direct", model__width=5)
    with pytest.raises(ConfigError, match=r"config: config\.model\.width: 5, now 16$"):
        check_finished([run])


def test_a_teacher_of_which_there_is_only_a_record_is_trained_again(tmp_path):
    runs = _runs(tmp_path, TEACHER, STUDENT)
    _finish(runs[0].record, runs[0])
    assert _names(unfinished(runs)) == [TEACHER, STUDENT]
    _finish(runs[1].record, runs[1])
    assert unfinished(runs) == []


def test_a_finished_run_of_another_experiment_is_not_taken_for_it(tmp_path):
    """Cells of two tables may share a name, and so a folder in one workdir."""
    runs = _runs(tmp_path, "byot", "dks")
    _finish(runs[0].folder, runs[0])
    check_finished(runs)
    _finish(runs[1].folder, runs[1], model__name="wrn16_2")
    with pytest.raises(ConfigError, match=r"^--workdir: .*config\.model\.name: 'wrn16_2', now"):
        check_finished(runs)


def test_without_records_there_are_none(tmp_path):
    (run,) = plan(SMALL_TABLES["small"].cells, [0], tmp_path / "runs", only=["byot"])
    assert run.record is None
    _finish(run.folder, run)
    check_finished([run])
    keep_record(run)
    assert unfinished([run]) == []
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_record_is_kept_once_and_says_what_its_run_said(tmp_path):
    (run,) = _runs(tmp_path, "byot", seeds=[3])
    _finish(run.folder, run)
    keep_record(run)
    assert run.record == tmp_path / "records" / "byot" / "seed-3"
    assert {path.name for path in run.record.iterdir()} == {"metrics.jsonl", "summary.json"}
    for path in run.record.iterdir():
        assert path.read_text() == (run.folder / path.name).read_text()
    (run.folder / "metrics.jsonl").write_text("other\n")
    keep_record(run)
    assert (run.record / "metrics.jsonl").read_text() == '{"epoch": 0}\n'


def test_fields_that_decide_nothing_or_that_a_run_fills_in_may_differ(tmp_path):
    (_, run) = _runs(tmp_path, TEACHER, STUDENT)
    filled_in = {"method__teacher_sha256": "ab", "data__data_dir": "elsewhere"}
    _finish(run.record, run, method__teacher="gone", **filled_in)
    check_finished([run])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is of another config: config.training.epochs: 30, now 20"),
        ('{"finished": true}', "does not say what was run"),
        ('{"finished": true, "config": {"training": 3}}', "does not say what was run"),
    ],
)
def test_a_record_of_something_else_is_refused(tmp_path, text, message):
    (run,) = _runs(tmp_path, "byot")
    _finish(run.record, run, training__epochs=30)
    if text is not None:
        (run.record / "summary.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        check_finished([run])


# Finishes at once.
TRAIN = """
import json, pathlib, sys
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
folder = pathlib.Path(flags["workdir"])
folder.mkdir(parents=True)
(folder / "metrics.jsonl").touch()
(folder / "summary.json").write_text(json.dumps({"finished": True, "config": CONFIG}))
"""


def test_a_sweep_leaves_records_and_goes_by_them(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepared = tmp_path / "prepared" / "cifar100" / "3.0.2"
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text('{"fileFormat": "array_record"}')
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
    (run,) = plan(SMALL_TABLES["small"].cells, [0], pathlib.Path("runs"), only=["byot"])
    config = repr(to_dict(run.experiment))
    pathlib.Path("train.py").write_text(TRAIN.replace("CONFIG", config))
    flags = ["--table=small", "--cells=byot", "--seeds=0", "--done=records", "--train=train.py"]
    assert sweep.main([*flags, "--workdir=runs"]) == 0
    assert is_finished(pathlib.Path("records/byot/seed-0"))
    capfd.readouterr()
    assert sweep.main([*flags, "--workdir=elsewhere"]) == 0
    output = capfd.readouterr().out
    assert output.splitlines() == [
        "elsewhere/byot/seed-0: finished already",
        "table small: 1 of 1 runs are finished",
    ]
    assert not pathlib.Path("elsewhere").exists()
    other = "--config.training.batch_size=64"
    assert sweep.main([*flags, "--workdir=elsewhere", other]) == 2
    assert "config.training.batch_size: 128, now 64" in capfd.readouterr().err


def test_rows_of_one_name_are_one_experiment_in_all_tables_of_the_study():
    experiments = {}
    for table in SMALL_TABLES.values():
        names = [cell.name for cell in table.cells]
        assert len(set(names)) == len(names)
        for cell in table.cells:
            experiment = experiment_of(cell)
            assert experiments.setdefault(cell.name, experiment) == experiment
    settings = list(experiments.values())
    assert all(settings.count(experiment) == 1 for experiment in settings)
    assert {name for name in experiments if name in METHODS} == set(METHODS)


def test_the_study_differs_in_method_and_what_is_claimed_to_add():
    others = ("small-epochs", "small-wrn")
    tables = {name: table for name, table in SMALL_TABLES.items() if name not in others}
    cells = [cell for table in tables.values() for cell in table.cells]
    experiments = [experiment_of(cell) for cell in cells]
    plain = [
        e.data for e, cell in zip(experiments, cells, strict=True) if "augment" not in cell.config
    ]
    assert len(set(plain)) == 1
    assert {
        dataclasses.replace(experiment.data, cutout="none", mixup_alpha=0.0)
        for experiment in experiments
    } == set(plain)
    batches = {e.method.name: e.training.batch_size for e in experiments}
    assert set(batches.values()) == {128}
    assert {e.training.epochs for e in experiments} == {20}
    assert len({e.model for e in experiments}) == 1
    assert experiments[0].model.convolution == "direct"


def test_the_baseline_has_as_few_epochs_as_methods_that_read_more_images():
    (same,) = plan(SMALL_TABLES["small"].cells, [0], pathlib.Path("runs"), only=["cross_entropy"])
    fewer = plan(SMALL_TABLES["small-epochs"].cells, [0], pathlib.Path("runs"))
    equal = plan(SMALL_TABLES["small-peers"].cells, [0], pathlib.Path("runs"), equal_images=True)
    epochs = {run.experiment.training.epochs for run in equal}
    assert {run.experiment.training.epochs for run in (same, *fewer)} == epochs
    for run in fewer:
        training = dataclasses.replace(run.experiment.training, epochs=20)
        assert dataclasses.replace(run.experiment, training=training) == same.experiment


def test_one_network_is_trained_at_full_width_on_all_images():
    experiments = [experiment_of(cell) for cell in SMALL_TABLES["small-wrn"].cells]
    shared = {(e.model, e.data, e.training, e.evaluation) for e in experiments}
    ((model, data, training, _),) = shared
    assert (model.name, model.width) == ("wrn16_2", None)
    assert (data.train_examples, training.epochs) == (None, 15)
    assert len({e.method.name for e in experiments}) == len(experiments)
