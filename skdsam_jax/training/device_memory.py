"""Whether what a method remembers fits onto a device."""

import os

import jax

from skdsam_jax.data import Dataset
from skdsam_jax.methods import Memory
from skdsam_jax.options import ConfigError


def check_memory(memory: Memory, method: str, dataset: Dataset, device: jax.Device) -> None:
    """Refuses what a method remembers where it is more than a device has.

    Args:
      memory: its arrays, which may be abstract.
      method: the name of who remembers it.
      dataset: what it is remembered of.
      device: one of those that each hold all of it.

    Raises:
      ConfigError: it does not fit; says how large both are.
    """
    needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(memory))
    available = memory_bytes(device)
    if available is not None and needed > available:
        raise ConfigError(
            f"config.method.name: {method} remembers {needed / 2**30:.1f} GiB for "
            f"{len(dataset.train):,} images of {dataset.num_classes:,} classes; the device has "
            f"{available / 2**30:.1f} GiB"
        )


def memory_bytes(device: jax.Device) -> int | None:
    """The memory of a device, on a CPU that of the machine; None where that is not known."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None and device.platform == "cpu" and hasattr(os, "sysconf"):
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return limit
