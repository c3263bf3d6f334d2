"""Where images come from.

Importing this package imports neither JAX nor TensorFlow nor TFDS; what runs on the device is in
`skdsam_jax.data.pipelines.resident` and `skdsam_jax.data.augmentation.augment`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from skdsam_jax.data.dataset import Dataset, EncodedSplit, Split
from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.sources.catalogue import DATASETS
from skdsam_jax.data.splits import stratified_choice
from skdsam_jax.options import ConfigError, find
from skdsam_jax.references import find_reference, is_reference

__all__ = [
    "DATASETS",
    "DataOptions",
    "Dataset",
    "EncodedSplit",
    "Split",
    "find_dataset",
    "load_dataset",
]

# Second words of the seeds, so that the two choices are independent of each other.
_VALIDATION, _SUBSET = 0, 1


def load_dataset(options: DataOptions, seed: int) -> Dataset:
    """Loads the set that `options` names and cuts it as they say.

    The validation split is cut first and from the whole training split, so that it is the same
    however many of the remaining examples are trained on.

    Args:
      options: which set, and how much of it.
      seed: decides, with nothing else, which examples are held out and which are trained on.

    Returns:
      The dataset, as NumPy arrays or, when streaming, as encoded pictures.

    Raises:
      ConfigError: an unknown set, data that is missing or damaged, or more examples asked for
        than there are.
    """
    load = find_dataset(options.name)
    for name in ("test_fraction", "skip_unreadable"):
        if getattr(options, name) not in (None, False) and options.name != "folder":
            raise ConfigError(f"config.data.{name}: only for config.data.name=folder")
    dataset = load(options)
    if is_reference(options.name):
        _check_own(options, dataset)
    side = min(dataset.image_shape[:2])
    for name in ("crop_padding", "cutout_size"):
        value = getattr(options, name)
        if value is not None and value >= side:
            raise ConfigError(
                f"config.data.{name}: takes less than the image size {side}, not {value}"
            )
    if options.validation_fraction > 0:
        dataset = _hold_out(dataset, options.validation_fraction, seed)
    if options.train_examples is not None:
        dataset = _subset(dataset, options.train_examples, seed)
    return dataset


def find_dataset(name: str) -> Callable[[DataOptions], Dataset]:
    """What loads the set called `name`: of `DATASETS`, or module:Name of the user's own.

    Raises:
      ConfigError: there is none of that name.
    """
    where = "config.data.name"
    if not is_reference(name):
        return find(DATASETS, name, where)
    load = find_reference(name, where)
    if not callable(load):
        raise ConfigError(f"{where}: takes a function of DataOptions, and {name} is {load!r}")
    return load


def _check_own(options: DataOptions, dataset: Any) -> None:
    """Raises a ConfigError if an own function gave something else than it was asked for."""
    if not isinstance(dataset, Dataset):
        raise ConfigError(
            f"config.data.name: {options.name} returns {type(dataset).__name__}, not a "
            "skdsam_jax.data.Dataset"
        )
    pipeline = "resident" if isinstance(dataset.train, Split) else "streaming"
    if options.pipeline != pipeline:
        kinds = {"resident": "arrays", "streaming": "encoded pictures"}
        raise ConfigError(
            f"config.data.pipeline: takes {pipeline} with {options.name}, which returns "
            f"{kinds[pipeline]}"
        )
    side = dataset.image_shape[0]
    if options.image_size not in (None, side):
        raise ConfigError(
            f"config.data.image_size: {options.name} returns images of {side} pixels, not "
            f"{options.image_size}"
        )


def _hold_out(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    total = len(dataset.train)
    size = round(fraction * total)
    if not 0 < size < total:
        raise ConfigError(
            f"config.data.validation_fraction: {fraction} of {total} examples leaves none for "
            + ("validation" if size == 0 else "training")
        )
    held_out, rest = stratified_choice(dataset.train.labels, size, (seed, _VALIDATION))
    validation = dataset.train.take(held_out)
    if isinstance(validation, Split):
        validation = validation.resized(dataset.image_shape[0])
    return dataclasses.replace(dataset, train=dataset.train.take(rest), validation=validation)


def _subset(dataset: Dataset, size: int, seed: int) -> Dataset:
    total = len(dataset.train)
    if size > total:
        raise ConfigError(
            f"config.data.train_examples: takes at most the {total} training examples, not {size}"
        )
    chosen, _ = stratified_choice(dataset.train.labels, size, (seed, _SUBSET))
    return dataclasses.replace(dataset, train=dataset.train.take(chosen))
