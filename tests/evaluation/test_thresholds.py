"""Thresholds against a loop over examples and a search over all thresholds."""

import numpy as np
import pytest

from skdsam_jax.evaluation.thresholds import (
    Answers,
    answers_of,
    candidate_thresholds,
    choose_threshold,
    measure_threshold,
)

FLOPS = [10, 25, 45]


@pytest.fixture(scope="module")
def answers():
    """Deeper exits are right more often, and confident answers too."""
    generator = np.random.default_rng(0)
    confidence = generator.uniform(size=(3, 200))
    chance = confidence * np.array([[0.7], [0.8], [1.0]])
    return Answers(confidence, generator.uniform(size=(3, 200)) < chance)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9, 1.0, None])
def test_one_example_after_another(answers, threshold):
    right, cost, left = 0, 0, [0, 0, 0]
    for example in range(200):
        exit = 0
        while exit < 2 and not (
            threshold is not None and answers.confidence[exit, example] >= threshold
        ):
            exit += 1
        right += answers.correct[exit, example]
        cost += FLOPS[exit]
        left[exit] += 1
    found = measure_threshold(answers, FLOPS, threshold)
    assert found["threshold"] == threshold
    assert found["accuracy"] == right / 200
    assert found["mean_flops"] == pytest.approx(cost / 200)
    assert found["leave"] == [count / 200 for count in left]


def test_candidates_span_all_choices(answers):
    thresholds = candidate_thresholds(answers)
    assert (thresholds[0], thresholds[-1]) == (0.0, None)
    between = thresholds[1:-1]
    assert between == sorted(set(between))
    shallow = answers.confidence[:2]
    assert (between[0], between[-1]) == (shallow.min(), shallow.max())
    assert candidate_thresholds(Answers(*(part[:1] for part in answers))) == [None]


def _points(answers):
    thresholds = candidate_thresholds(answers)
    return [measure_threshold(answers, FLOPS, threshold) for threshold in thresholds]


def test_cheapest_that_is_as_accurate(answers):
    chosen = choose_threshold(answers, FLOPS, None)
    deepest = answers.correct[-1].mean()
    assert chosen["accuracy"] >= deepest
    cheaper = [point for point in _points(answers) if point["mean_flops"] < chosen["mean_flops"]]
    assert cheaper
    assert all(point["accuracy"] < deepest for point in cheaper)


def test_most_accurate_within_a_budget(answers):
    chosen = choose_threshold(answers, FLOPS, 30)
    assert chosen["mean_flops"] <= 30
    within = [point["accuracy"] for point in _points(answers) if point["mean_flops"] <= 30]
    assert chosen["accuracy"] == max(within)
    assert choose_threshold(answers, FLOPS, 9) is None


def test_answers_follow_from_probabilities():
    probabilities = np.array([[[0.2, 0.8], [0.6, 0.4]], [[0.9, 0.1], [0.5, 0.5]]])
    found = answers_of(np.log(probabilities), np.array([1, 1]))
    np.testing.assert_allclose(found.confidence, [[0.8, 0.6], [0.9, 0.5]])
    assert found.correct.tolist() == [[True, False], [False, False]]
