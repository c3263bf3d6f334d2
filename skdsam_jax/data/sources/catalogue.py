"""The table of datasets by name.

A loader takes `DataOptions` and returns a `Dataset` whose validation split is None. A new set is a
file with such a loader and a line here; sets read through TFDS are instances of `PreparedSet`,
which the prepare command offers too.
"""

from collections.abc import Callable

from skdsam_jax.data.dataset import Dataset
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.sources.cifar import CIFAR10, CIFAR100
from skdsam_jax.data.sources.digits import load_digits
from skdsam_jax.data.sources.folder import find_folder, load_folder
from skdsam_jax.data.sources.photographs import (
    CALTECH_BIRDS_2010,
    CALTECH_BIRDS_2011,
    IMAGENET_2012,
    MIT_INDOOR_67,
    STANFORD_40_ACTIONS,
    STANFORD_DOGS,
    TINY_IMAGENET,
)
from skdsam_jax.data.sources.prepared import PreparedSet

DATASETS: dict[str, Callable[[DataOptions], Dataset]] = {
    "caltech_birds2010": CALTECH_BIRDS_2010,
    "caltech_birds2011": CALTECH_BIRDS_2011,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "digits": load_digits,
    "folder": load_folder,
    "imagenet2012": IMAGENET_2012,
    "mit_indoor67": MIT_INDOOR_67,
    "stanford40_actions": STANFORD_40_ACTIONS,
    "stanford_dogs": STANFORD_DOGS,
    "tiny_imagenet": TINY_IMAGENET,
}


def check_available(options: DataOptions) -> None:
    """Says early why a set of the table could not be loaded; decodes nothing.

    Raises:
      ConfigError: the set is not prepared or not there, or not laid out as it must be.
    """
    loader = DATASETS.get(options.name)
    if isinstance(loader, PreparedSet):
        loader.check(options)
    elif loader is load_folder:
        find_folder(options)
