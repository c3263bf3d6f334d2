"""Every test of a loss runs under strict promotion."""

import jax
import pytest


@pytest.fixture(autouse=True)
def strict():
    """Nothing may lean on implicit promotion of types or ranks."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
