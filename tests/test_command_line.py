"""What commands take, and what they say besides their results."""

import os
import subprocess
import sys

import pytest
from config_files import CONFIGS, ROOT

from skdsam_jax import __main__ as commands
from skdsam_jax.commands import command_line, preview, train
from skdsam_jax.commands.config_files import find_config
from skdsam_jax.experiment.config import SECTIONS, from_config_dict
from skdsam_jax.options import ConfigError

# ml_collections' loader of config files.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

CODE = """
import logging
from skdsam_jax.commands import command_line
command_line.run(lambda: logging.getLogger("skdsam_jax.data").warning("only a part of it"))
"""


@pytest.mark.parametrize("before", ["", "import skdsam_jax.commands.preview"])
def test_a_warning_is_its_text(before):
    result = subprocess.run([sys.executable, "-c", before + CODE], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "only a part of it\n"


def _experiment(*flags):
    argv = ["train", *flags]
    values = command_line.define_config_flag(argv)
    command_line.parse(argv, values, {})
    return from_config_dict(values["config"].value)


@pytest.mark.parametrize("given", ["digits", "digits.py", "configs/digits", "configs/digits.py"])
@pytest.mark.parametrize("flag", ["--config={}", "-config={}"])
def test_own_config_files_are_found_from_any_folder(tmp_path, monkeypatch, given, flag):
    monkeypatch.chdir(tmp_path)
    assert find_config(given).samefile(CONFIGS["digits"])
    experiment = _experiment(flag.format(f"{given}:method=byot"), "--config.training.epochs=3")
    assert (experiment.method.name, experiment.model.width) == ("byot", 8)
    assert experiment.training.epochs == 3


def test_a_config_file_may_stand_behind_its_flag():
    assert _experiment("--config", "digits:method=byot").method.name == "byot"


def test_a_file_that_is_there_goes_before_the_projects_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = "from skdsam_jax.experiment.config import default_config as get_config\n"
    (tmp_path / "digits.py").write_text(own)
    assert find_config("digits.py").samefile(tmp_path / "digits.py")
    assert find_config("digits").samefile(CONFIGS["digits"])
    assert _experiment("--config=digits.py").model.width is None


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("digit", "there is no file digit; did you mean digits? Known are cifar100, cub200, dig"),
        ("nothing.py", "there is no file nothing.py; known are cifar100, cub200, digits, dogs, f"),
        # A folder that is named is meant.
        ("elsewhere/digits.py", "there is no file elsewhere/digits.py; did you mean digits?"),
    ],
)
def test_an_unknown_config_file_is_answered_with_the_list(given, hint):
    with pytest.raises(ConfigError) as error:
        find_config(given)
    assert str(error.value).startswith(f"--config: {hint}")
    assert str(error.value).endswith("stanford40, tiny_imagenet, tiny_imagenet64")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs=3"], "--epochs=3: unknown flag; did you mean --config.training.epochs=3?"),
        (["--epochs", "3"], "--epochs: unknown flag; did you mean --config.training.epochs?"),
        (
            ["--batch_size=3"],
            "--batch_size=3: unknown flag; did you mean --config.evaluation.batch_size=3 or "
            "--config.training.batch_size=3?",
        ),
        (["--wordir=a"], "--wordir=a: unknown flag; did you mean --workdir=a?"),
        (["--zzz=a"], "--zzz=a: unknown flag; fields are set with --config.FIELD=VALUE, and --hel"),
        (
            ["--config.data.data_dir", "--config.model.width=3"],
            "--config.data.data_dir: a value is missing before --config.model.width=3",
        ),
        (["--workdir", "--config.seed=3"], "--workdir: a value is missing before --config.seed=3"),
        (["--config", "--workdir=a"], "--config: a value is missing before --workdir=a"),
    ],
)
def test_mistakes_in_flags_say_what_was_meant(capsys, flags, message):
    assert train.main(["--config=digits", *flags]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1


def test_flags_without_a_value_may_be_followed_by_flags():
    experiment = _experiment(
        "--config=digits", "--config.data.flip", "--noconfig.logging.tensorboard", "--config.seed=3"
    )
    assert (experiment.data.flip, experiment.logging.tensorboard) == (True, False)


@pytest.mark.parametrize("command", [train, preview])
def test_help_is_short_and_has_the_choices(capsys, command):
    assert command.main(["--help"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("usage: skdsam ")
    for choice in ("tiny_imagenet64", "knowledge_distillation", "wrn28_10", "cutmix", "mit_indoor"):
        assert choice in output
    assert "--config.method.temperature" not in output
    assert max(map(len, output.splitlines())) <= 100


def test_full_help_has_every_field_with_what_it_takes(capsys):
    assert train.main(["--helpfull"]) == 0
    output = capsys.readouterr().out
    for section, cls in SECTIONS.items():
        for field in cls.__dataclass_fields__:
            assert f"--config.{section}.{field}=" in output
    assert "one of float32, bfloat16" in " ".join(output.split())
    assert "--config.method.energy=softmax_dot" in output
    assert max(map(len, output.splitlines())) <= 100


def test_the_commands_are_listed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["skdsam"])
    assert commands.main() == 0
    output = capsys.readouterr().out
    assert output.startswith("usage: skdsam COMMAND")
    assert all(f"  {name} " in output for name in commands.COMMANDS)


def test_an_unknown_command_is_one_line():
    result = subprocess.run(
        [sys.executable, "-m", "skdsam_jax", "trian"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: unknown command 'trian'; did you mean train?\n"


def test_ctrl_c_before_there_is_anything_to_save_is_one_line(capsys):
    def interrupted():
        raise KeyboardInterrupt

    assert command_line.run(interrupted) == 130
    assert capsys.readouterr().err == "error: ended by Ctrl-C\n"
