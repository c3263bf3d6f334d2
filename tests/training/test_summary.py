"""What a summary says of how the run was started."""

import shlex
import sys

import pytest

from skdsam_jax.training.summary import describe_command


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("train.py", "train.py"),
        ("/usr/local/bin/skdsam", "skdsam"),
        ("/somewhere/skdsam_jax/__main__.py", "python -m skdsam_jax"),
    ],
)
def test_the_command_is_what_a_person_would_type(monkeypatch, program, name):
    monkeypatch.setattr(sys, "argv", [program, "train", "--config=digits"])
    assert describe_command() == f"{name} train --config=digits"


def test_the_command_can_be_typed_again(monkeypatch):
    arguments = ["--config.data.data_dir=my photographs", "--config.training.decay_at=(0.5, 0.75)"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    assert shlex.split(describe_command()) == ["train.py", *arguments]
