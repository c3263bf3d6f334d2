"""What stands at the top of the package."""

import pytest

import skdsam_jax
from skdsam_jax import trained, training


def test_load_and_train_are_found_where_they_live():
    assert skdsam_jax.load is trained.load
    assert skdsam_jax.train is training.train
    assert {"load", "train", "__version__"} <= set(dir(skdsam_jax))
    assert set(skdsam_jax.__all__) <= set(dir(skdsam_jax))


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="module 'skdsam_jax' has no attribute 'restore'"):
        _ = skdsam_jax.restore
