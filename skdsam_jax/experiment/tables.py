"""Tables of experiments, as plain values: what a sweep runs."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Cell:
    """One experiment of a table.

    Attributes:
      name: a folder's name, unique in its table.
      config: what `--config` takes: the file of a family and, behind a colon, its cell.
      changes: field of the config to value, beyond what the cell says.
      teacher: the name of an earlier cell of its table; the finished run with the same seed
        teaches this one.
      whole_batch: whether the batch size of the table counts all images that a step reads, so that
        `training.batch_size`, which counts anchors, is a share of it.
    """

    name: str
    config: str
    changes: tuple[tuple[str, Any], ...] = ()
    teacher: str | None = None
    whole_batch: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
      title: what it is about.
      cells: its experiments.
    """

    title: str
    cells: tuple[Cell, ...]
