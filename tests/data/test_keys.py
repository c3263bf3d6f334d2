"""Keys and moments: pure functions of a run's seed and its step."""

import jax
import numpy as np
import pytest

from skdsam_jax.data.pipelines.keys import Stream, moment_of, stream_key


def test_keys_are_folded_in_turn():
    expected = jax.random.key(4, impl="threefry2x32")
    for number in (int(Stream.AUGMENTATION), 7, 9):
        expected = jax.random.fold_in(expected, number)
    assert stream_key(4, Stream.AUGMENTATION, 7, 9) == expected


def test_keys_differ_and_ignore_the_default_generator():
    def numbers():
        return {
            tuple(np.asarray(jax.random.key_data(stream_key(seed, stream, epoch, step))))
            for seed in range(2)
            for stream in Stream
            for epoch in range(3)
            for step in range(3)
        }

    expected = numbers()
    assert len(expected) == 2 * len(Stream) * 9
    with jax.default_prng_impl("rbg"):
        assert numbers() == expected


@pytest.mark.parametrize(
    ("step", "epoch", "epoch_step"), [(0, 0, 0), (6, 0, 6), (7, 1, 0), (20, 2, 6)]
)
def test_a_moment_says_where_in_its_run_a_step_stands(step, epoch, epoch_step):
    moment = jax.jit(lambda step: moment_of(5, step, steps_per_epoch=7, epochs=3))(np.int32(step))
    key = moment.key
    assert jax.tree.map(int, moment._replace(key=0))[:-1] == (epoch, 3, step, 21, epoch_step)
    assert key == stream_key(5, Stream.METHOD, epoch, epoch_step)


def test_a_moment_has_the_types_of_a_step_under_x64():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        moment = moment_of(np.uint32(5), np.int32(8), steps_per_epoch=7, epochs=3)
    assert moment.epoch.dtype == moment.epoch_step.dtype == np.int32
    assert (moment.epochs, moment.steps) == (3, 21)
