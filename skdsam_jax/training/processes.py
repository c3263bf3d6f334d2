"""What several processes of one run must agree on."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first_process() -> bool:
    """Whether this process writes the logs."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Returns when every process has come to `where`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any process; every process must ask at the same point."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))
