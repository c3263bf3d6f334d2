"""Traces the training step of an experiment at its real size; nothing is computed or decoded."""

import contextlib
import dataclasses
import gc
import json
import re
from collections.abc import Iterator

import jax
import numpy as np
from config_files import CONFIGS, experiment_of

from skdsam_jax.data import Dataset, EncodedSplit, Split
from skdsam_jax.data.pipelines.pipeline import create_pipeline
from skdsam_jax.experiment.config import Experiment, to_dict
from skdsam_jax.experiment.tables import Cell
from skdsam_jax.experiment.thesis_tables import TABLES
from skdsam_jax.methods import METHODS
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer

# Classes, and the side of training images where they are all of one size.
SETS = {
    "digits": (10, 16),
    "cifar100": (100, 32),
    "tiny_imagenet": (200, 64),
    "caltech_birds2011": (200, None),
    "mit_indoor67": (67, None),
    "stanford_dogs": (120, None),
    "stanford40_actions": (40, None),
    "folder": (16, None),
}

# A recipe and what is added to it; the one that has a Cutout takes no other.
VARIANTS = (
    "recipe=thesis",
    "recipe=thesis,augment=cutout",
    "recipe=thesis,augment=mixup",
    "recipe=lab",
    "recipe=lab,augment=mixup",
)

SMALL = ("cifar100", "digits", "tiny_imagenet", "tiny_imagenet64")
PHOTOGRAPHS = ("cub200", "dogs", "folder", "mit67", "stanford40")
assert sorted(SMALL + PHOTOGRAPHS) == list(CONFIGS)

_traced: dict[str, "Traced"] = {}
_abstract: dict[str, tuple] = {}


@dataclasses.dataclass(frozen=True)
class Traced:
    """Shapes and types of a first step: what goes in, what comes out, and what else is asked of it.

    Attributes:
      before: state and sums.
      after: the same, and the sums of the step alone.
      images_per_step: as in `Trainer`.
    """

    before: tuple
    after: tuple
    images_per_step: int


def cells_of_tables(backbones: str) -> list[Cell]:
    """Every cell of every table whose backbone matches a pattern, named by both."""
    return [
        dataclasses.replace(cell, name=f"{number}-{cell.name}")
        for number, table in TABLES.items()
        for cell in table.cells
        if re.fullmatch(backbones, _backbone(cell))
    ]


def cell_of_family(backbone: str, family: str, method: str) -> Cell:
    """One of the five variants, in turn: all methods of a family meet all of them."""
    place = sorted(CONFIGS).index(family) + list(METHODS).index(method)
    argument = f"backbone={backbone},method={method},{VARIANTS[place % len(VARIANTS)]}"
    return Cell(f"{family}:{argument}", f"configs/{family}.py:{argument}")


def check(cell: Cell) -> None:
    """Traces a cell's first step, and asserts what must hold of it."""
    experiment = experiment_of(cell)
    classes = SETS[experiment.data.name][0]
    traced = _trace_once(experiment)
    (state, sums), (new_state, new_sums, step_sums) = traced.before, traced.after
    assert _shapes(new_state) == _shapes(state)
    assert _shapes(new_sums) == _shapes(sums)
    assert _shapes(step_sums) == _shapes(sums.training)

    method, model = experiment.method.name, experiment.model.name
    stages = 3 if model.startswith(("wrn", "resnext29")) else 4
    exits = 1 if method.startswith("cross_entropy") else stages
    assert step_sums["correct"].shape == (exits,)
    heads = [state.params["classifier"]["dense"]]
    heads += list(state.params.get("exits", {}).get("dense", {}).values())
    assert [head["bias"].shape for head in heads] == [(classes,)] * exits
    with_rotations = method.endswith("_sla")
    assert ("joint" in state.params) == with_rotations
    if with_rotations:
        assert state.params["joint"]["bias"].shape == (4 * classes,)
    views = 4 if with_rotations else 1
    assert traced.images_per_step == views * experiment.training.batch_size


def _trace_once(experiment: Experiment) -> Traced:
    """Experiments that differ in numbers alone have one trace."""
    key = json.dumps(_without_numbers(experiment), sort_keys=True)
    if key not in _traced:
        with _no_garbage_collection():
            _traced[key] = _trace(experiment)
    return _traced[key]


def _trace(experiment: Experiment) -> Traced:
    dataset = _fabricate(experiment)
    mesh = data_mesh(jax.devices()[:1])
    with Trainer(experiment, dataset, mesh) as trainer:
        data = create_pipeline(
            dataset.train, batch_size=len(dataset.train), seed=0, mesh=mesh, workers=0
        ).abstract
        order = jax.ShapeDtypeStruct((1, len(dataset.train)), np.int32)

        def step(state, sums, order, data):
            return trainer.dispatch(state, sums, iter([(order, data)]), 1)

        # What distorts the images is no matter of the state.
        values = _without_numbers(experiment)
        key = json.dumps([values["method"], values["model"], dataset.num_classes])
        if key not in _abstract:
            _abstract[key] = trainer.abstract
        before = _abstract[key]
        return Traced(before, jax.eval_shape(step, *before, order, data), trainer.images_per_step)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Looking for garbage in what a trace has made so far takes a quarter of its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _NoRecords:
    """Photographs that nobody looks at."""

    def __init__(self, count: int) -> None:
        self.labels = np.zeros(count, np.int32)

    def __len__(self) -> int:
        return len(self.labels)


def _fabricate(experiment: Experiment) -> Dataset:
    """A batch of images, of the size and with the classes of the real ones."""
    options, count = experiment.data, experiment.training.batch_size
    classes, side = SETS[options.name]

    def split(side: int) -> Split | EncodedSplit:
        if options.pipeline == "streaming":
            return EncodedSplit(_NoRecords(count), options.image_size)
        return Split(np.zeros((count, side, side, 3), np.uint8), np.zeros(count, np.int32))

    test = split(options.image_size or side)
    train = split(side) if options.crop == "resized" else test
    names = tuple(map(str, range(classes)))
    return Dataset(options.name, names, (0.5,) * 3, (0.25,) * 3, train, None, test)


def _without_numbers(experiment: Experiment) -> dict:
    """What decides what is traced: of the method's numbers, and the rate's decay, nothing."""
    values = to_dict(experiment)
    method = values["method"].items()
    values["method"] = {name: value for name, value in method if not isinstance(value, float)}
    values["training"].pop("decay_at")
    return values


def _shapes(tree: object) -> dict[str, tuple]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): (leaf.shape, leaf.dtype) for path, leaf in leaves}


def _backbone(cell: Cell) -> str:
    named = re.search(r"backbone=(\w+)", cell.config)
    return named[1] if named else "resnet18"
