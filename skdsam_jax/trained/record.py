"""What a network's arrays do not say about it: `network.json` in a run's folder."""

import dataclasses
import json
import pathlib
from typing import Any

from skdsam_jax.data.dataset import Dataset, EncodedSplit
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.pictures import CENTRAL_SHARE
from skdsam_jax.data.sources.catalogue import DATASETS
from skdsam_jax.data.sources.prepared import PreparedSet
from skdsam_jax.options import ConfigError
from skdsam_jax.trained.preparation import Preparation

FILE = "network.json"


@dataclasses.dataclass(frozen=True)
class NetworkRecord:
    """What a network takes and what its answers mean.

    Attributes:
      class_names: one name per class; logit i is that of `class_names[i]`.
      image_shape: height, width and channels of its images.
      mean: per channel, of pixels scaled to [0, 1]; images are normalised with it.
      std: per channel, of pixels scaled to [0, 1].
      preparation: how a picture becomes such an image.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preparation: Preparation

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `network.json` holds them."""
        return dataclasses.asdict(self)


def describe_network(dataset: Dataset, options: DataOptions) -> NetworkRecord:
    """The record of a network that is trained on `dataset`.

    Args:
      dataset: as `load_dataset` gives it.
      options: what it was loaded with.
    """
    return NetworkRecord(
        class_names=dataset.class_names,
        image_shape=dataset.image_shape,
        mean=dataset.mean,
        std=dataset.std,
        preparation=preparation_of(
            options.name, dataset.image_shape[0], streamed=isinstance(dataset.test, EncodedSplit)
        ),
    )


def preparation_of(dataset: str, side: int, *, streamed: bool) -> Preparation:
    """How the test images of the set called `dataset` are made of its pictures."""
    if streamed:
        return Preparation(side, CENTRAL_SHARE, reduced=True)
    # Of an own set nothing is known but its images.
    loader = DATASETS.get(dataset)
    one_size = loader.one_size if isinstance(loader, PreparedSet) else dataset != "folder"
    return Preparation(side, 1.0, reduced=not one_size)


def read_record(workdir: pathlib.Path) -> NetworkRecord | None:
    """The record in a run's folder; None if there is none, as in runs of version 0.1.0.

    Raises:
      ConfigError: it is damaged.
    """
    file = workdir / FILE
    try:
        values = json.loads(file.read_text())
        return NetworkRecord(
            class_names=tuple(map(str, values["class_names"])),
            image_shape=tuple(map(int, values["image_shape"])),
            mean=tuple(map(float, values["mean"])),
            std=tuple(map(float, values["std"])),
            preparation=Preparation(**values["preparation"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(f"workdir {workdir}: its {FILE} is damaged") from None
