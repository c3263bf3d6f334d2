"""Reading ahead keeps the order and its bounds."""

import threading

import pytest

from skdsam_jax.evaluation.decoding import read_ahead


def test_results_come_in_order_and_not_too_early():
    asked = []

    def items():
        for item in range(50):
            asked.append(item)
            yield item

    results = read_ahead(lambda item: item * item, items(), ahead=6, threads=3)
    for number, result in enumerate(results):
        assert result == number * number
        assert len(asked) <= number + 1 + 6


def test_threads_work_at_once():
    meeting = threading.Barrier(3, timeout=60)
    results = read_ahead(lambda item: meeting.wait() >= 0, range(3), ahead=3, threads=3)
    assert list(results) == [True, True, True]


def test_errors_are_raised_where_the_result_would_be():
    results = read_ahead(lambda item: 1 // item, [1, 0, 1], ahead=2, threads=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
