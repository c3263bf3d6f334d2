"""Runs of version 0.1.0, which left no `network.json`: what it would hold is looked up.

Nothing is downloaded, decoded or prepared for that.
"""

import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from skdsam_jax.data.options import DataOptions
from skdsam_jax.data.sources import folder
from skdsam_jax.data.sources.catalogue import DATASETS
from skdsam_jax.data.sources.digits import load_digits
from skdsam_jax.data.sources.prepared import STREAMED_SIDE, PreparedSet
from skdsam_jax.data.sources.prepared_folders import data_folder, find_prepared
from skdsam_jax.data.sources.prepared_records import PreparedRecords
from skdsam_jax.options import ConfigError, build
from skdsam_jax.trained.record import NetworkRecord, preparation_of

_log = logging.getLogger(__name__)

# Of the sets that version 0.1.0 trained on without being told a size; digits say theirs.
_OWN_SIDES = {"cifar10": 32, "cifar100": 32, "tiny_imagenet": 64}


def look_up_record(
    workdir: pathlib.Path, config: Mapping[str, Any], num_classes: int
) -> NetworkRecord:
    """The record of a run that has none.

    Classes are numbered, and one line says so, where the run's data folder is not there any more.

    Args:
      workdir: the run's folder, named in that line.
      config: of the run, as `config.json` holds it.
      num_classes: of its network.

    Raises:
      ConfigError: the config is of no set that this library knows.
    """
    options = build(DataOptions, config["data"], "config.data")
    streamed = options.pipeline == "streaming"
    if options.name == "digits":
        digits = load_digits(options)
        names, side, mean, std = digits.class_names, digits.image_shape[0], digits.mean, digits.std
    else:
        loader = DATASETS[options.name]
        mean, std = (
            (loader.mean, loader.std)
            if isinstance(loader, PreparedSet)
            else (folder.MEAN, folder.STD)
        )
        side = options.image_size or (STREAMED_SIDE if streamed else _OWN_SIDES[options.name])
        names = _class_names(options)
        if len(names) != num_classes:
            _log.warning(
                "%s: the names of its classes are not known, for its data is not there; "
                "they are numbered from 0 to %d",
                workdir,
                num_classes - 1,
            )
            names = tuple(map(str, range(num_classes)))
    return NetworkRecord(
        class_names=names,
        image_shape=(side, side, 3),
        mean=mean,
        std=std,
        preparation=preparation_of(options.name, side, streamed=streamed),
    )


def _class_names(options: DataOptions) -> tuple[str, ...]:
    """The names in the folder of the data, none if it is not there."""
    try:
        if options.name == "folder":
            return folder.find_class_names(options)
        prepared = find_prepared(options.name, data_folder(options.data_dir))
        return PreparedRecords(prepared, "train").class_names if prepared else ()
    except ConfigError:
        return ()
