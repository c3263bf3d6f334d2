"""Whatever a user gets wrong ends in one line, exit code 2 and an untouched disk."""

import os
import stat

import pytest
from runs import SMALL

from skdsam_jax.commands import command_line, train

# ml_collections loads config files in a way that Python means to drop.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

_NO_DATA = ["--config.data.name=cifar100", "--config.data.data_dir=/nowhere/at/all"]

BAD = {
    "Mixup with a method of one label": (
        ["--config.method.name=ps_kd", "--config.data.mixup_alpha=0.2"],
        "config.data.mixup_alpha: takes 0 with method ps_kd, which needs each image's one label",
    ),
    "a batch too small for a method": (
        ["--config.method.name=mixskd", "--config.training.batch_size=1"],
        "config.training.batch_size: takes at least 2 with method mixskd, not 1",
    ),
    "too few images of a class for companions": (
        ["--config.method.name=bake", "--config.method.companions=7"],
        "config.method: 7 companions of each image take 8 or more training images of each class",
    ),
    "no teacher": (
        ["--config.method.name=knowledge_distillation"],
        "config.method.teacher: takes the workdir of a finished run",
    ),
    "a teacher that is not there": (
        ["--config.method.name=knowledge_distillation", "--config.method.teacher=/nowhere"],
        "config.method.teacher: workdir /nowhere: no such folder",
    ),
    "unknown field": (["--config.training.epoch=3"], "config.training.epoch"),
    "unknown flag": (["--epochs=3"], "--epochs=3: unknown flag; did you mean --config.tr"),
    "no flag": (["epochs=3"], "epochs=3: unknown argument"),
    "wrong type": (["--config.training.epochs=many"], "config.training.epochs"),
    "missing config": (["--config=configs/nothing.py"], "there is no file configs/nothing.py"),
    "a bare word for a cell": (
        ["--config=configs/digits.py:lab"],
        "error: --config: takes KEY=VALUE behind the colon, not 'lab'; did you mean recipe=lab?",
    ),
    "unknown method": (
        ["--config.method.name=skdsan"],
        "config.method.name: unknown method 'skdsan'; did you mean skdsam?",
    ),
    "option of another method": (["--config.method.alpha=0.5"], "config.method.alpha: no option"),
    "unknown backbone": (
        ["--config.model.name=resnet19"],
        "config.model.name: unknown backbone 'resnet19'; did you mean resnet18? Known are dense",
    ),
    "a stem that the backbone has not, before data that is not there": (
        ["--config.model.name=wrn16_2", "--config.model.stem=imagenet", *_NO_DATA],
        "config.model.stem: a wide residual network takes small, not 'imagenet'",
    ),
    "a width that the groups do not divide, before data that is not there": (
        ["--config.model.name=resnext50_32x4d", *_NO_DATA],
        "config.model.width: 32 groups of 4 at width 64 take a multiple of 16, not 4",
    ),
    "unknown data": (["--config.data.name=mnist"], "config.data.name: unknown value 'mnist'"),
    "missing data_dir": (
        _NO_DATA,
        "/nowhere/at/all",
    ),
    "batch larger than the data": (
        ["--config.training.batch_size=65"],
        "config.training.batch_size: 65 is more than the 64 training images",
    ),
    "too many examples": (
        ["--config.data.train_examples=5000"],
        "config.data.train_examples: takes at most",
    ),
    "batch not divisible among devices": (
        ["--config.training.batch_size=15"],
        "config.training.batch_size: 15 cannot be divided among 8 devices",
    ),
}


@pytest.fixture
def refuse(tmp_path, capsys):
    """Gives flags to the command, in this process; returns its one line."""

    def refuse(*flags, workdir=tmp_path / "run"):
        arguments = [*SMALL, f"--workdir={workdir}", *flags]
        assert train.main(arguments) == command_line.EXIT_BAD_INPUT
        output, errors = capsys.readouterr()
        assert output == ""
        assert errors.startswith("error: ")
        assert errors.count("\n") == 1
        assert not (workdir.is_dir() and list(workdir.iterdir()))
        return errors

    return refuse


@pytest.mark.parametrize("name", BAD)
def test_one_line_and_nothing_written(refuse, tmp_path, name):
    flags, message = BAD[name]
    assert message in refuse(*flags)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["unknown field", "batch larger than the data"])
def test_a_process_says_no_more(run, name):
    """What is refused at once, and what after JAX has started."""
    flags, message = BAD[name]
    output, errors = run.finish(*flags, code=2)
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert output == ""
    assert not run.workdir.exists()


def test_unprepared_data_says_which_commands_prepare_it(refuse, tmp_path):
    flags = "--config.data.name=cifar100", f"--config.data.data_dir={tmp_path}"
    assert "skdsam_jax prepare cifar100" in refuse(*flags)
    assert not (tmp_path / "run").exists()


def test_workdir_below_a_file_is_refused(refuse, tmp_path):
    (tmp_path / "run").write_text("a file")
    assert "is not a folder" in refuse(workdir=tmp_path / "run" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_workdir_that_cannot_be_written_is_refused(refuse, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "cannot be written" in refuse()


def test_missing_flags_are_named(capsys):
    assert train.main([]) == 2
    assert "--config" in capsys.readouterr().err
