"""Waiting for the first step of the real command."""

import pytest
from patience import HANGING

from benchmarks.startup import import_seconds, seconds_to_first_step

TINY = [
    "--config=configs/digits.py",
    "--config.model.width=4",
    "--config.method.name=cross_entropy",
]


@pytest.mark.slow
def test_the_first_step_is_seen(tmp_path):
    assert 0 < seconds_to_first_step(TINY, str(tmp_path), HANGING) < HANGING


def test_a_command_that_fails_shows_what_it_wrote(tmp_path):
    with pytest.raises(RuntimeError, match=r"config\.model\.widht"):
        seconds_to_first_step([*TINY, "--config.model.widht=4"], str(tmp_path), HANGING)


def test_imports_are_timed():
    assert all(seconds > 0 for seconds in import_seconds(1).values())
