"""What `evaluate` measures a run on: its own set, another one, or a folder."""

import argparse
import dataclasses
import pathlib

import numpy as np

from skdsam_jax.data import DATASETS, DataOptions, Dataset, load_dataset
from skdsam_jax.data.sources.prepared import PreparedSet
from skdsam_jax.evaluation.examples import (
    Examples,
    check_class_names,
    examples_of,
    examples_of_folder,
)
from skdsam_jax.evaluation.report import NOT_FITTED
from skdsam_jax.options import ConfigError, build, find
from skdsam_jax.trained import Trained


@dataclasses.dataclass(frozen=True)
class Source:
    """A set, and what choices may be made on.

    Attributes:
      name: of the set.
      split: which part of it.
      examples: of that part.
      validation: the run's own validation split; None: there is none.
      why_no_validation: says why.
    """

    name: str
    split: str
    examples: Examples
    validation: Examples | None
    why_no_validation: str = NOT_FITTED


def find_source(trained: Trained, options: argparse.Namespace) -> Source:
    """What the flags name.

    Args:
      trained: the network, whose labels are used whatever the order of the set's.
      options: `data`, `folder`, `data_dir` and `split` of the command.

    Raises:
      ConfigError: the data is not there, has no such split or is of other classes.
    """
    if options.data is None and options.folder is None:
        dataset = _own_dataset(trained, options.data_dir)
        return Source(
            dataset.name,
            options.split,
            _examples(dataset, options.split, trained),
            None if dataset.validation is None else _examples(dataset, "validation", trained),
        )
    if options.folder is not None:
        name, examples = options.folder.name, _folder(trained, options.folder, options.split)
    else:
        dataset = _other_dataset(trained, options.data, options.data_dir)
        name, examples = dataset.name, _examples(dataset, options.split, trained)
    return Source(name, options.split, examples, *_own_validation(trained))


def _own_dataset(trained: Trained, data_dir: str | None) -> Dataset:
    options = build(DataOptions, trained.config["data"], "config.data")
    if data_dir is not None:
        options = dataclasses.replace(options, data_dir=data_dir)
    return load_dataset(options, trained.config["seed"])


def _own_validation(trained: Trained) -> tuple[Examples | None, str]:
    """The run's validation split, or why there is none."""
    if not trained.config["data"]["validation_fraction"]:
        return None, NOT_FITTED
    try:
        return _examples(_own_dataset(trained, None), "validation", trained), NOT_FITTED
    except ConfigError as error:
        reason = f"the run's validation split cannot be read: {error}"
        return None, f"no threshold is chosen and no temperature fitted: {reason}"


def _other_dataset(trained: Trained, name: str, data_dir: str | None) -> Dataset:
    if name == "folder":
        raise ConfigError("--data: takes the name of a set; a folder is named by --folder DIR")
    loader = find(DATASETS, name, "--data")
    streamed = isinstance(loader, PreparedSet) and (loader.streaming_only or not loader.one_size)
    options = DataOptions(
        name=name,
        data_dir=data_dir,
        image_size=trained.image_shape[0],
        pipeline="streaming" if streamed else "resident",
    )
    return load_dataset(options, 0)


def _folder(trained: Trained, root: pathlib.Path, split: str) -> Examples:
    """The part of the folder called as the split is, or all of it."""
    part = root / split
    if part.is_dir() and split not in trained.class_names:
        return examples_of_folder(part, trained)
    if split != "test":
        raise ConfigError(f"--split: no such folder: {part}")
    return examples_of_folder(root, trained)


def _examples(dataset: Dataset, name: str, trained: Trained) -> Examples:
    split = getattr(dataset, name)
    if split is None:
        raise ConfigError(
            f"--split: {dataset.name} has no {name} split "
            "(config.data.validation_fraction of the run cuts one)"
        )
    check_class_names(dataset.class_names, trained.class_names, f"data set {dataset.name}")
    examples = examples_of(split, trained.image_shape[0])
    places = [trained.class_names.index(name) for name in dataset.class_names]
    return dataclasses.replace(examples, labels=np.array(places, np.int32)[examples.labels])
