"""A run's folder: what it refuses, and that it loses nothing."""

import dataclasses
import json
import subprocess
import sys

import pytest

from skdsam_jax.experiment.config import default_config, from_config_dict
from skdsam_jax.options import ConfigError
from skdsam_jax.training.workdir import Workdir


@pytest.fixture
def experiment():
    return from_config_dict(default_config())


def test_opening_creates_the_folder_and_writes_the_config(tmp_path, experiment):
    with Workdir(tmp_path / "a" / "b").open(experiment) as workdir:
        config = json.loads((workdir.path / "config.json").read_text())
    assert config["method"]["name"] == "skdsam"
    assert config["training"]["decay_at"] == [0.4, 0.6]


def test_checking_writes_nothing(tmp_path, experiment):
    Workdir(tmp_path / "a").check(experiment)
    assert list(tmp_path.iterdir()) == []


def test_path_below_a_file_is_refused(tmp_path, experiment):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file is not a folder"):
        Workdir(tmp_path / "file" / "run").check(experiment)


def test_another_config_is_refused_naming_the_fields(tmp_path, experiment):
    Workdir(tmp_path).open(experiment).close()
    changed = dataclasses.replace(
        experiment, seed=7, training=dataclasses.replace(experiment.training, epochs=3)
    )
    with pytest.raises(ConfigError) as error:
        Workdir(tmp_path).open(changed)
    assert "config.seed: 0, now 7" in str(error.value)
    assert "config.training.epochs: 250, now 3" in str(error.value)
    assert str(error.value).endswith("a run of more epochs begins anew, in another workdir")
    assert "\n" not in str(error.value)


def test_another_config_of_as_many_epochs_takes_another_workdir(tmp_path, experiment):
    Workdir(tmp_path).open(experiment).close()
    with pytest.raises(ConfigError, match=r"config\.seed: 0, now 7; take another workdir"):
        Workdir(tmp_path).check(dataclasses.replace(experiment, seed=7))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], None),
        (["lock"], None),
        (["thesis.tex", "notes"], "(notes, thesis.tex)"),
        (["a", "b", "c", "d", "e"], "(a, b, c and 2 more)"),
    ],
)
def test_foreign_files_are_noticed_once_and_stay(tmp_path, experiment, caplog, names, said):
    for name in names:
        (tmp_path / name).write_text(name)
    Workdir(tmp_path).open(experiment).close()
    expected = f"workdir {tmp_path}: holds other files too {said}, which stay as they are"
    assert caplog.messages == ([] if said is None else [expected])
    Workdir(tmp_path).open(experiment).close()
    assert len(caplog.messages) == (said is not None)
    assert all((tmp_path / name).exists() for name in names)


def test_fields_that_cannot_change_the_numbers_may_differ(tmp_path, experiment):
    Workdir(tmp_path).open(experiment).close()
    changed = dataclasses.replace(
        experiment,
        data=dataclasses.replace(experiment.data, data_dir="elsewhere"),
        checkpoint=dataclasses.replace(experiment.checkpoint, every_minutes=0.5),
        logging=dataclasses.replace(experiment.logging, tensorboard=False),
    )
    Workdir(tmp_path).open(changed).close()
    assert json.loads((tmp_path / "config.json").read_text())["data"]["data_dir"] == "elsewhere"


def test_a_run_older_than_a_field_goes_on(tmp_path, experiment):
    Workdir(tmp_path).open(experiment).close()
    config = json.loads((tmp_path / "config.json").read_text())
    del config["training"]["on_nonfinite"], config["logging"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    Workdir(tmp_path).open(experiment).close()


def test_a_run_older_than_the_forms_of_convolution_stays_direct(tmp_path, experiment):
    Workdir(tmp_path).open(experiment).close()
    config = json.loads((tmp_path / "config.json").read_text())
    del config["model"]["convolution"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Workdir(tmp_path).begun_with("model")["convolution"] == "direct"
    forms = {
        form: dataclasses.replace(experiment.model, convolution=form)
        for form in ("direct", "winograd")
    }
    with pytest.raises(ConfigError, match="convolution: 'direct', now 'winograd'"):
        Workdir(tmp_path).check(dataclasses.replace(experiment, model=forms["winograd"]))
    Workdir(tmp_path).open(dataclasses.replace(experiment, model=forms["direct"])).close()


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_damaged_config_is_refused(tmp_path, experiment, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json is damaged"):
        Workdir(tmp_path).check(experiment)


def test_checkpoints_without_config_are_refused(tmp_path, experiment):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ConfigError, match=r"no config\.json"):
        Workdir(tmp_path).open(experiment)


def test_a_second_run_is_refused_while_the_first_process_lives(tmp_path, experiment):
    program = (
        "import fcntl, os, sys\n"
        "lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigError, match="another process trains here"):
            Workdir(tmp_path).open(experiment)
        holder.kill()
        holder.wait()
        Workdir(tmp_path).open(experiment).close()


def test_history_keeps_the_covered_epochs_and_drops_the_rest(tmp_path, experiment):
    with Workdir(tmp_path).open(experiment) as workdir:
        for epoch in range(3):
            workdir.append_metrics({"epoch": epoch})
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"epoch": 3, "tr')
        assert workdir.read_history(2) == [{"epoch": 0}, {"epoch": 1}]
        workdir.append_metrics({"epoch": 2})
        assert workdir.read_history(3) == [{"epoch": 0}, {"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize("text", ["", '{"epoch": 0}\n', '{"epoch": 0}\n{"ep\n'])
def test_history_that_misses_a_covered_epoch_is_refused(tmp_path, experiment, text):
    with Workdir(tmp_path).open(experiment) as workdir:
        (tmp_path / "metrics.jsonl").write_text(text)
        with pytest.raises(ConfigError, match=r"metrics\.jsonl"):
            workdir.read_history(2)
        assert (tmp_path / "metrics.jsonl").read_text() == text
