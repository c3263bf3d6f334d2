"""Whatever a user gets wrong ends in one line, exit code 2 and an untouched disk."""

import os
import stat

import pytest

_NO_DATA = ["--config.data.name=cifar100", "--config.data.data_dir=/nowhere/at/all"]

BAD = {
    "unknown field": (["--config.training.epoch=3"], "config.training.epoch"),
    "unknown flag": (["--epochs=3"], "unknown flag 'epochs'"),
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
        "config.model.name: unknown backbone 'resnet19'; did you mean resnet18?",
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
        "config.training.batch_size: 15 cannot be divided among 2 devices",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_one_line_and_nothing_written(run, name):
    flags, message = BAD[name]
    output, errors = run.finish(*flags, code=2, JAX_NUM_CPU_DEVICES="2")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert output == ""
    assert not run.workdir.exists()


def test_unprepared_data_says_which_commands_prepare_it(run, tmp_path):
    _, errors = run.finish(
        "--config.data.name=cifar100", f"--config.data.data_dir={tmp_path}", code=2
    )
    assert errors.count("\n") == 1
    assert "skdsam_jax prepare cifar100" in errors
    assert not run.workdir.exists()


def test_workdir_below_a_file_is_refused(run):
    run.workdir.write_text("a file")
    run.workdir = run.workdir / "below"
    _, errors = run.finish(code=2)
    assert errors.count("\n") == 1
    assert "is not a folder" in errors


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_workdir_that_cannot_be_written_is_refused(run):
    run.workdir.mkdir()
    run.workdir.chmod(stat.S_IRUSR | stat.S_IXUSR)
    _, errors = run.finish(code=2)
    assert errors.count("\n") == 1
    assert "cannot be written" in errors


def test_missing_flags_are_named(run):
    from skdsam_jax.commands.command_line import main

    assert main(["train.py"]) == 2
