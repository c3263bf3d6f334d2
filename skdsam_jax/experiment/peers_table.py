"""The table of all methods on one backbone and data set."""

from skdsam_jax.experiment.published_settings import published_settings
from skdsam_jax.experiment.tables import Cell, Table
from skdsam_jax.methods import METHODS
from skdsam_jax.options import find

FAMILIES = (
    "cifar100",
    "cub200",
    "digits",
    "dogs",
    "folder",
    "mit67",
    "stanford40",
    "tiny_imagenet",
    "tiny_imagenet64",
)
"""Files of `configs/`."""

# What stands beside all others, and teaches where a teacher is asked for.
_BASELINE = "cross_entropy"


def peers_table(family: str = "cifar100", backbone: str = "resnet18") -> Table:
    """Every method, the baseline first, each with what was published for the data set.

    Args:
      family: a name of `FAMILIES`.
      backbone: as behind a config file's colon.

    Raises:
      ConfigError: there is no such family.
    """
    find(dict.fromkeys(FAMILIES), family, "--family")
    methods = sorted(METHODS, key=lambda name: name != _BASELINE)
    cells = tuple(_cell(method, family, backbone) for method in methods)
    return Table(f"all methods, {backbone} on {family}", cells)


def _cell(method: str, family: str, backbone: str) -> Cell:
    place = f"{backbone}-{family}"
    return Cell(
        f"{method}-{place}",
        f"configs/{family}.py:backbone={backbone},method={method}",
        published_settings(method, family),
        teacher=f"{_BASELINE}-{place}" if method == "knowledge_distillation" else None,
        # Its authors' batch of 128 holds 32 anchors and three companions of each.
        whole_batch=method == "bake",
    )
