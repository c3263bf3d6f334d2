"""Objects in processes of their own."""

import pytest

from benchmarks.worker import Worker, WorkerError


def test_calls_reach_the_object_and_failures_come_back():
    with Worker("collections:Counter", "aab", environment={"SOME_NAME": "value"}) as worker:
        assert worker("most_common", 1) == [("a", 2)]
        with pytest.raises(WorkerError, match="TypeError"):
            worker("most_common", "one")
        assert worker("total") == 3


def test_a_class_that_cannot_be_built_is_an_error():
    with pytest.raises(WorkerError, match="TypeError"):
        Worker("collections:Counter", 1)
