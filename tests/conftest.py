"""Settings every test runs under; they must be in place before JAX starts."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

from skdsam_jax import runtime

runtime.configure()

import jax  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

# Grain reads absl flags, which only `app.run` parses.
flags.FLAGS.mark_as_parsed()


@pytest.fixture
def key():
    """A fixed random key."""
    return jax.random.key(0)
