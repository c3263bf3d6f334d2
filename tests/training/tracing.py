"""Traces the training step of an experiment at its real size; nothing is computed or decoded."""

import dataclasses
import itertools
import random
from collections.abc import Iterable

import jax
import numpy as np
from config_files import CONFIGS, experiment_of

from skdsam_jax.data import Dataset, EncodedSplit, Split
from skdsam_jax.experiment.config import Experiment
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

# A backbone of each kind that takes families of a size, the quick ones to trace before the others,
# of which a DenseNet takes ten times as long.
QUICK = {SMALL: ("wrn16_2", "resnet18"), PHOTOGRAPHS: ("resnet18",)}
OTHERS = {SMALL: ("resnext29_8x64d",), PHOTOGRAPHS: ("resnext50_32x4d", "densenet121")}


# Exits of a method, 0 for one on each stage; of others there is the deepest alone.
EXITS = {
    **dict.fromkeys(("byot", "mixskd", "msd", "pd_byot", "skdsam", "skdsam_plus", "skdsam_sla"), 0),
    "dks": 3,
    "lightskd": 2,
    "okddip": 4,
}


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


def sampled_cells() -> list[Cell]:
    """Every method, family, variant and kind of backbone at least once, and few of their products.

    They are spread at random, the same way each time. There are as many cells as methods, not as
    methods times families: tracing takes seconds.
    """
    generator = random.Random(0)

    def shuffled(values: Iterable[str]) -> list[str]:
        return generator.sample(list(values), len(list(values)))

    # Distillation from a run needs one.
    alone = [method for method in METHODS if method != "knowledge_distillation"]
    methods, families, variants = shuffled(alone), shuffled(CONFIGS), shuffled(VARIANTS)
    longest = max(len(methods), len(families), len(variants))
    columns = map(itertools.cycle, (methods, families, variants))
    backbones = {size: itertools.cycle(names) for size, names in QUICK.items()}
    cells = []
    for method, family, variant in itertools.islice(zip(*columns, strict=True), longest):
        size = SMALL if family in SMALL else PHOTOGRAPHS
        cells.append(untabled_cell(next(backbones[size]), family, method, variant))
    for size, names in OTHERS.items():
        for backbone in names:
            drawn = (generator.choice(values) for values in (size, methods, variants))
            cells.append(untabled_cell(backbone, *drawn))
    return cells


def cells_of_tables() -> list[Cell]:
    """Every cell of every table, named by both."""
    return [
        dataclasses.replace(cell, name=f"{number}-{cell.name}")
        for number, table in TABLES.items()
        for cell in table.cells
    ]


def sampled_cells_of_tables() -> list[Cell]:
    """Of the tables' cells those that bring a backbone, a family or a part that no other has.

    Methods on backbones of every family are stepped in `tests/models/test_training_step.py`.
    """
    cells = cells_of_tables()
    random.Random(0).shuffle(cells)
    seen = set()
    sampled = []
    for candidate in cells:
        family, _, argument = candidate.config.partition(":")
        parts = dict(part.split("=") for part in argument.split(",") if part)
        backbone = parts.pop("backbone", "resnet18")
        met = {backbone, family, *parts.items()}
        if met - seen:
            sampled.append(candidate)
            seen |= met
    return sampled


def untabled_cell(backbone: str, family: str, method: str, variant: str) -> Cell:
    """An experiment that no table names."""
    if not METHODS[method].takes_soft_labels:
        variant = variant.replace(",augment=mixup", "")
    argument = f"backbone={backbone},method={method},{variant}"
    return Cell(f"{family}:{argument}", f"configs/{family}.py:{argument}")


def check(cell: Cell) -> None:
    """Traces a cell's first step, and asserts what must hold of it."""
    experiment = experiment_of(cell)
    classes = SETS[experiment.data.name][0]
    # What promotes types or ranks without being asked hides a mistake.
    strict = jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise")
    with strict[0], strict[1]:
        traced = _trace(experiment)
    (state, sums), (new_state, new_sums, step_sums) = traced.before, traced.after
    assert _shapes(new_state) == _shapes(state)
    assert _shapes(new_sums) == _shapes(sums)
    assert _shapes(step_sums) == _shapes(sums.training)

    method, model = experiment.method.name, experiment.model.name
    stages = 3 if model.startswith(("wrn", "resnext29")) else 4
    exits = EXITS.get(method, 1) or stages
    assert step_sums["correct"].shape == (exits,)
    heads = [state.params["classifier"]["dense"]]
    for owner in ("exits", "peers"):
        heads += list(state.params.get(owner, {}).get("dense", {}).values())
    assert [head["bias"].shape for head in heads] == [(classes,)] * exits
    with_rotations = method in ("sla_sd", "skdsam_sla")
    assert ("joint" in state.params) == with_rotations
    if with_rotations:
        assert state.params["joint"]["bias"].shape == (4 * classes,)
    per_anchor = METHODS[method].images_per_anchor(experiment.method)
    assert traced.images_per_step == per_anchor * experiment.training.batch_size


def _trace(experiment: Experiment) -> Traced:
    dataset = _fabricate(experiment)
    mesh = data_mesh(jax.devices()[:1])
    with Trainer(experiment, dataset, mesh) as trainer:
        before, inputs = trainer.abstract, trainer.abstract_inputs
        after = jax.eval_shape(lambda *arguments: trainer.dispatch(*arguments, 1), *before, inputs)
        return Traced(before, after, trainer.images_per_step)


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


def _shapes(tree: object) -> dict[str, tuple]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): (leaf.shape, leaf.dtype) for path, leaf in leaves}
