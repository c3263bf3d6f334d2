"""What is written of a run where there is no terminal; no test waits for the clock."""

import io
import math

import pytest

from skdsam_jax.training.progress import Progress


@pytest.mark.parametrize(("seconds", "lines"), [(-1.0, 3), (math.inf, 0)])
def test_a_line_within_an_epoch_is_written_when_it_is_due(seconds, lines):
    file = io.StringIO()
    progress = Progress(8, 16, file=file, seconds=seconds)
    progress.start_epoch(0, 2, steps=4, done=0)
    for step in (1, 2, 3):
        progress.update(step, 1, None, loss=1.5, accuracy=0.25)
    progress.finish_epoch()
    assert file.getvalue() == "epoch 1/2 loss 1.500, accuracy 0.250\n" * lines


def test_speed_and_what_is_left_are_those_of_the_steps():
    file = io.StringIO()
    progress = Progress(130, 16, file=file, seconds=-1.0)
    progress.start_epoch(0, 1, steps=130, done=0)
    progress.update(10, 10, 5.0, loss=0.5, accuracy=1.0)
    assert file.getvalue().endswith("accuracy 1.000, 32 images/s, 0:01:00 left\n")


@pytest.mark.parametrize(("seconds", "lines"), [(-1.0, 2), (math.inf, 0)])
def test_an_evaluation_says_how_far_it_is_when_that_is_due(seconds, lines):
    file = io.StringIO()
    progress = Progress(8, 16, file=file, seconds=seconds)
    with progress.evaluation("test") as advance:
        advance(1, 3)
        advance(2, 3)
    expected = ["evaluating test 1/3 batches\n", "evaluating test 2/3 batches\n"]
    assert file.getvalue() == "".join(expected[:lines])


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_an_evaluation_is_a_bar_on_a_terminal():
    file = _Terminal()
    progress = Progress(8, 16, file=file, seconds=-1.0)
    with progress.evaluation("validation") as advance:
        advance(1, 3)
        assert "evaluating validation" in file.getvalue()
        progress.say("a line")
    assert "a line\n" in file.getvalue()
    assert file.getvalue().endswith("\r")


def test_nothing_is_written_when_it_is_not_wanted():
    file = io.StringIO()
    progress = Progress(8, 16, file=file, seconds=-1.0, enabled=False)
    progress.start_epoch(0, 2, steps=4, done=0)
    progress.update(1, 1, 1.0, loss=1.5, accuracy=0.25)
    progress.say("a line")
    assert file.getvalue() == ""
