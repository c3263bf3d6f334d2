"""What a sweep runs, looked at as a whole before its first run begins.

Every cell is built as `skdsam train` will build it, so that a mistake in it, or in a flag that goes
to all runs, is known at once, and so are its data and how many images it reads.
"""

import dataclasses
import fnmatch
import pathlib
from collections.abc import Sequence
from typing import Any

from skdsam_jax.commands import command_line
from skdsam_jax.data.sources.catalogue import check_available
from skdsam_jax.experiment.config import Experiment, from_config_dict
from skdsam_jax.experiment.tables import Cell
from skdsam_jax.methods import find_method
from skdsam_jax.options import ConfigError, known

Fields = tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
      folder: its workdir.
      flags: what `skdsam train` is given.
      reads: how many images it reads, in words.
      passes: how many times it reads the training set.
      experiment: what is run.
      teacher: the workdir of the run that must be finished before it.
      record: the folder of its record, which counts as the run; None: there are no records.
    """

    folder: pathlib.Path
    flags: tuple[str, ...]
    reads: str
    passes: int
    experiment: Experiment
    teacher: pathlib.Path | None = None
    record: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class _Resolved:
    """A cell as it will run: under which name, with what set last, and what it reads."""

    name: str
    settled: Fields
    reads: str
    passes: int
    experiment: Experiment


def plan(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    workdir: pathlib.Path,
    overrides: Sequence[str] = (),
    *,
    equal_images: bool = False,
    only: Sequence[str] = (),
    records: pathlib.Path | None = None,
) -> list[Run]:
    """The runs of a table, all cells with the first seed before the second.

    Args:
      cells: of the table; a teacher comes before who learns from it.
      seeds: of the runs of each cell.
      workdir: where the run of a cell with seed N is WORKDIR/CELL/seed-N.
      overrides: `--config.FIELD=VALUE` for every run.
      equal_images: a run reads about as many images as one that reads each image of the training
        set once an epoch: its epochs are divided by the images that it reads for each anchor,
        rounded to whole ones. Its folder is then WORKDIR/CELL-equal_images/seed-N.
      only: names of cells, or patterns such as "skdsam-*"; none: all cells.
      records: where the record of such a run is RECORDS/CELL/seed-N.

    Raises:
      ConfigError: a cell that cannot run, which the message names; or none is called so.
    """
    resolved = {cell.name: _resolve(cell, overrides, equal_images) for cell in cells}
    chosen = _choose(cells, only)
    return [
        _run(cell, resolved, seed, workdir, overrides, records) for seed in seeds for cell in chosen
    ]


def check_data(runs: Sequence[Run]) -> None:
    """Looks for the images of all runs before the first begins; decodes none.

    Raises:
      ConfigError: some are missing; the message has every reason once, with the first run it is of.
    """
    reasons: dict[str, pathlib.Path] = {}
    for data in dict.fromkeys(run.experiment.data for run in runs):
        try:
            check_available(data)
        except ConfigError as error:
            first = next(run.folder for run in runs if run.experiment.data == data)
            reasons.setdefault(str(error), first)
    if reasons:
        raise ConfigError("; ".join(f"{folder}: {reason}" for reason, folder in reasons.items()))


def _choose(cells: Sequence[Cell], only: Sequence[str]) -> Sequence[Cell]:
    names = [cell.name for cell in cells]
    for pattern in only:
        if not fnmatch.filter(names, pattern):
            raise ConfigError(f"--cells: no cell is called {pattern!r}; {known(pattern, names)}")
    if not only:
        return cells
    return [cell for cell in cells if any(fnmatch.fnmatch(cell.name, name) for name in only)]


def _run(
    cell: Cell,
    resolved: dict[str, _Resolved],
    seed: int,
    workdir: pathlib.Path,
    overrides: Sequence[str],
    records: pathlib.Path | None,
) -> Run:
    def place_of(name: str) -> pathlib.PurePath:
        return pathlib.PurePath(resolved[name].name, f"seed-{seed}")

    own, folder = resolved[cell.name], workdir / place_of(cell.name)
    teacher = None if cell.teacher is None else workdir / place_of(cell.teacher)
    record = None if records is None else records / place_of(cell.name)
    fields = (*cell.changes, ("seed", seed))
    if teacher is not None:
        fields += (("method.teacher", teacher),)
    flags = (
        f"--config={cell.config}",
        f"--workdir={folder}",
        *_flags(fields),
        *overrides,
        *_flags(own.settled),  # Last, as the last flag of a field holds.
    )
    experiment = dataclasses.replace(own.experiment, seed=seed)
    return Run(folder, flags, own.reads, own.passes, experiment, teacher, record)


def _resolve(cell: Cell, overrides: Sequence[str], equal_images: bool) -> _Resolved:
    try:
        experiment = _experiment([f"--config={cell.config}", *_flags(cell.changes), *overrides])
    except ConfigError as error:
        raise ConfigError(f"{cell.name}: {error}") from None
    method, training = experiment.method, experiment.training
    images = find_method(method.name).images_per_anchor(method)
    batch, epochs, name = training.batch_size, training.epochs, cell.name
    settled: dict[str, Any] = {}
    if cell.whole_batch:
        batch = settled["training.batch_size"] = max(1, batch // images)
    if equal_images and images > 1:
        epochs = settled["training.epochs"] = max(1, round(epochs / images))
        name += "-equal_images"
    reads = (
        f"{images * batch} images a step ({images} x {batch}), "
        f"the training set {images * epochs} times in {epochs} epochs"
    )
    training = dataclasses.replace(training, batch_size=batch, epochs=epochs)
    experiment = dataclasses.replace(experiment, training=training)
    return _Resolved(name, tuple(settled.items()), reads, images * epochs, experiment)


def _experiment(flags: Sequence[str]) -> Experiment:
    """What `skdsam train` makes of these flags.

    Raises:
      ConfigError: there is no such experiment.
    """
    argv = ["sweep", *flags]
    values = command_line.define_config_flag(argv)
    command_line.parse(argv, values, {})
    return from_config_dict(values["config"].value)


def _flags(fields: Fields) -> list[str]:
    return [f"--config.{name}={value}" for name, value in fields]
