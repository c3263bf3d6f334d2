"""The table of datasets by name.

A loader takes `(data_dir, image_size)`, as in `DataOptions`, and returns a `Dataset` whose
validation split is None. A new set is a file with such a loader and a line here; sets read
through TFDS are instances of `PreparedSet`, which the prepare command offers too.
"""

from collections.abc import Callable

from skdsam_jax.data.cifar import CIFAR10, CIFAR100
from skdsam_jax.data.dataset import Dataset
from skdsam_jax.data.digits import load_digits

DATASETS: dict[str, Callable[[str | None, int | None], Dataset]] = {
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "digits": load_digits,
}
