"""Images leave at the first confident exit, in their order, with that exit's answer."""

import jax
import numpy as np
import pytest

from skdsam_jax.evaluation import any_exit
from skdsam_jax.evaluation.any_exit import AnyExit

BATCH = 8


@pytest.fixture(scope="module")
def network(byot):
    return AnyExit(byot.trained, BATCH)


@pytest.fixture
def probabilities(network, images):
    """[exits, images, classes], of every exit alone."""
    return np.stack(
        [[answer.probabilities for answer in network.answer_at(images, exit)] for exit in range(3)]
    )


def test_the_deepest_exit_is_the_network(byot, images, probabilities):
    expected = byot.trained.predict(images)
    np.testing.assert_allclose(probabilities[-1], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.8])
def test_images_leave_at_the_first_confident_exit(network, images, probabilities, quantile):
    confidences = probabilities.max(-1)
    ordered = np.sort(confidences[:2].ravel())
    place = int(quantile * len(ordered))
    # Between two of them, so that rounding decides nothing.
    threshold = (ordered[place] + ordered[place + 1]) / 2
    expected = np.where(confidences[0] >= threshold, 0, np.where(confidences[1] >= threshold, 1, 2))
    answers = list(network.leave_early(iter(images), threshold))
    assert [answer.exit for answer in answers] == expected.tolist()
    assert 0 < np.mean(expected == 0) < 1
    for number, answer in enumerate(answers):
        wanted = probabilities[answer.exit, number]
        np.testing.assert_allclose(answer.probabilities, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("confidence", "exit"), [(0.0, 0), (1.1, 2)])
def test_all_leave_first_or_last(network, images, confidence, exit):
    answers = list(network.leave_early(images, confidence))
    assert [answer.exit for answer in answers] == [exit] * len(images)


def test_waiting_answers_are_bounded(network, images, probabilities, monkeypatch):
    """One image that stays holds back those that left after it, but not for long."""
    confidences = probabilities.max(-1)
    order = np.argsort(confidences[0])
    # The least confident first: it waits alone before the second exit.
    ordered = np.concatenate([images[order], *[images[order][-4:]] * 10])
    threshold = (confidences[0][order[0]] + confidences[0][order[1]]) / 2
    monkeypatch.setattr(any_exit, "_HELD_BATCHES", 2)
    taken = 0

    def counted():
        nonlocal taken
        for image in ordered:
            taken += 1
            yield image

    first = next(network.leave_early(counted(), threshold))
    assert first.exit > 0
    assert taken <= 4 * BATCH < len(ordered)


def test_one_program_for_each_exit(network, images):
    list(network.leave_early(images, 0.3))
    list(network.leave_early(images[:3], 0.3))
    assert [network._part(exit)._cache_size() for exit in range(3)] == [1, 1, 1]


def test_temperatures_soften(byot, network, images, probabilities):
    warm = AnyExit(byot.trained, BATCH, temperatures=[1.0, 2.0, 4.0])
    answers = [answer.probabilities for answer in warm.answer_at(images, 2)]
    expected = probabilities[2] ** 0.25
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(answers, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="one for each of the 3 exits, not 2"):
        AnyExit(byot.trained, BATCH, temperatures=[1.0, 2.0])


def test_in_float64_without_implicit_promotion(byot, images):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        trained = byot.trained
        network = AnyExit(trained, BATCH, temperatures=[1.0, 2.0, 1.0])
        answers = list(network.leave_early(images, 0.3))
        deepest = [answer.probabilities for answer in network.answer_at(images)]
        expected = trained.predict(images)
    assert deepest[0].dtype == np.float64
    np.testing.assert_allclose(deepest, expected, rtol=1e-9)
    assert len(answers) == len(images)


def test_costs_are_those_of_the_network(byot, network):
    assert len(network) == 3
    deepest = network.costs[-1]
    params = jax.tree.leaves(byot.trained.params["classifier"])
    assert deepest.parameters == sum(leaf.size for leaf in params)
    assert network.costs[0].flops == network.costs[0].flops_through
    assert network.costs[0].flops < network.costs[1].flops < deepest.flops < deepest.flops_through


def test_a_network_with_one_exit(plain, images):
    network = AnyExit(plain.trained, BATCH)
    assert len(network) == 1
    early = [answer.probabilities for answer in network.leave_early(images, 0.1)]
    np.testing.assert_allclose(early, plain.trained.predict(images), rtol=1e-4, atol=1e-6)
