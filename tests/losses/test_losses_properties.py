"""Each part of the losses on extreme inputs, and properties that hold on any input."""

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from skdsam_jax import losses

BATCH, WIDTH = 4, 5
quick = hypothesis.settings(max_examples=25, deadline=None, derandomize=True)


def rows(limit):
    """Arrays [BATCH, WIDTH] of logits or features up to `limit`."""
    elements = st.floats(-limit, limit, width=32)
    return arrays.arrays(np.float32, (BATCH, WIDTH), elements=elements)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_extreme_logits_stay_finite(temperature):
    teacher = np.float32([[1e4, -1e4, 0], [1e4, -1e4, 0]])
    student = np.float32([[-1e4, 1e4, 0], [1e4, -1e4, 0]])
    value, gradient = jax.value_and_grad(
        lambda z: losses.distillation_kl(z, teacher, temperature).sum()
    )(student)
    np.testing.assert_allclose(value, 2e4 / temperature, rtol=1e-6)
    np.testing.assert_allclose(
        gradient, np.float32([[-1, 1, 0], [0, 0, 0]]) / temperature, atol=1e-7
    )
    np.testing.assert_allclose(losses.cross_entropy(student, np.array([0, 0])), [2e4, 0])


@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
def test_zero_features_get_zero_gradient(reduction):
    student, teacher = np.random.default_rng(0).standard_normal((2, BATCH, WIDTH), np.float32)
    student[1] = teacher[2] = 0
    student[3] = teacher[3] = 0

    def total(student, teacher):
        values = losses.normalized_l1(student, teacher, reduction)
        return values.sum(), values

    gradients, values = jax.grad(total, argnums=(0, 1), has_aux=True)(student, teacher)
    size = WIDTH if reduction == "mean" else 1
    alone = [np.abs(row / np.linalg.norm(row)).sum() / size for row in (teacher[1], student[2])]
    np.testing.assert_allclose(values[1:], [*alone, 0], rtol=1e-6)
    np.testing.assert_array_equal(gradients[0][np.array([1, 3])], 0)
    assert np.abs(gradients[0][np.array([0, 2])]).min() > 0
    np.testing.assert_array_equal(gradients[1], 0)


def test_norms_below_the_smallest_count_as_the_smallest():
    student = np.float32([[3e-13, 4e-13]])
    value = losses.normalized_l1(student, np.float32([[1, 0]]), "sum")
    np.testing.assert_allclose(value, [0.7 + 0.4], rtol=1e-6)


def test_normalized_l1_is_a_mean_by_default():
    value = losses.normalized_l1(np.float32([[3, 4]]), np.float32([[1, 0]]))
    np.testing.assert_allclose(value, [(0.4 + 0.8) / 2], rtol=1e-6)


@quick
@hypothesis.given(rows(1e4), rows(1e4), st.floats(0.5, 100))
def test_divergence_is_not_negative_and_zero_for_equals(student, teacher, temperature):
    values = losses.distillation_kl(student, teacher, temperature)
    assert np.isfinite(values).all()
    assert (values >= -1e-6).all()
    np.testing.assert_array_equal(losses.distillation_kl(student, student, temperature), 0)


@quick
@hypothesis.given(rows(10), rows(10), st.floats(-10, 10))
def test_divergence_ignores_a_common_shift(student, teacher, shift):
    values = losses.distillation_kl(student, teacher, 2.0)
    shifted = losses.distillation_kl(student + np.float32(shift), teacher, 2.0)
    np.testing.assert_allclose(shifted, values, rtol=1e-4, atol=1e-5)


@quick
@hypothesis.given(rows(10), rows(10))
def test_hot_divergence_is_half_the_variance_of_the_difference(student, teacher):
    """T^2 KL -> sum_j (d_j - mean d)^2 / (2 classes), d the difference of logits."""
    with jax.enable_x64(True):
        student, teacher = student.astype(np.float64), teacher.astype(np.float64)
        hot = 1e4**2 * losses.distillation_kl(student, teacher, 1e4)
    np.testing.assert_allclose(hot, np.var(student - teacher, axis=-1) / 2, rtol=1e-2, atol=1e-4)


@quick
@hypothesis.given(rows(100), rows(100), st.floats(0.01, 100))
def test_normalized_l1_ignores_length_and_is_bounded(student, teacher, scale):
    hypothesis.assume((np.abs(student).max(-1) > 1e-3).all())
    values = losses.normalized_l1(student, teacher, "sum")
    assert (values <= 2 * np.sqrt(WIDTH) * (1 + 1e-6)).all()
    scaled = losses.normalized_l1(student * np.float32(scale), teacher, "sum")
    np.testing.assert_allclose(scaled, values, rtol=1e-4, atol=1e-5)
