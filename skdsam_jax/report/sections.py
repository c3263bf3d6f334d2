"""What stands on a page below each table: the pictures of its experiments."""

import hashlib
import pathlib
import re
from collections.abc import Sequence

from skdsam_jax.report import evaluation_pictures
from skdsam_jax.report.drawing import Picture
from skdsam_jax.report.page import Mistakes, Section
from skdsam_jax.report.run_pictures import (
    draw_accuracies,
    draw_attention,
    draw_images_read,
    draw_learning,
)
from skdsam_jax.report.runs import Evaluation, Experiment
from skdsam_jax.report.tables import Table

# Headings, in the order of the page, and the end of the name of the pictures below each.
_KINDS = {
    "Accuracies": "accuracies",
    "Accuracy against images read": "images_read",
    "Learning curves": "learning",
    "Attention": "attention",
    "Accuracy against FLOPs": "accuracy_against_flops",
    "Calibration": "reliability",
    "Confusion": "confusion_matrix",
}


def draw_section(
    table: Table,
    experiments: Sequence[Experiment] = (),
    evaluations: Sequence[Evaluation] = (),
    *,
    folder: pathlib.Path,
    pictures: bool,
) -> Section:
    """A table with all that can be drawn of its experiments.

    Of an experiment that `evaluate` measured with several seeds, the lowest seed's is drawn.

    Args:
      table: the table.
      experiments: one for each of its rows, in a table of experiments.
      evaluations: one for each of its rows, in a table of evaluations.
      folder: of the report, below which all files are.
      pictures: whether there are any; without, the mistakes are still named.
    """
    drawn: dict[str, list[Picture]] = {kind: [] for kind in _KINDS.values()}
    measured = []
    if pictures and len(experiments) > 1:
        stem = _stem(table.title, table.title)
        drawn["accuracies"].append(draw_accuracies(experiments, f"{stem}-accuracies"))
        images = draw_images_read(experiments, f"{stem}-images_read")
        drawn["images_read"] += [images] if images else []
    for experiment in experiments:
        words, run = experiment.words, experiment.evaluated
        whole = (words.table, words.method, words.network, words.parameters, words.training)
        stem = _stem(f"{words.method}-{words.model}", "; ".join(map(str, whole)))
        if pictures:
            learning = draw_learning(experiment, f"{stem}-learning")
            attention = draw_attention(experiment, f"{stem}-attention")
            drawn["learning"] += [learning] if learning else []
            drawn["attention"] += [attention] if attention else []
        if run is not None:
            trained = f"{words.network}; seed {run.summary['seed']}; {words.training}"
            measured.append((stem, trained, run.evaluation))
    for evaluation in evaluations:
        method, model = evaluation.result["method"], evaluation.result["model"]
        trained = f"{model}; step {evaluation.result['step']}"
        stem = _stem(f"{method}-{model}", evaluation.file.relative_to(folder).as_posix())
        measured.append((stem, trained, evaluation))
    sheets, mistakes = [], []
    for stem, trained, (file, result) in measured:
        drawings = evaluation_pictures.draw(result, file.parent) if pictures else ()
        for name, caption, png in drawings:
            place = drawn.get(name, sheets)
            place.append(Picture(f"{stem}-{name}", f"{caption}; {trained}", png))
        if result.get("worst_mistakes"):
            title = f"{result['method']} on {result['dataset']}, split {result['split']}; {trained}"
            mistakes.append(Mistakes(title, result["worst_mistakes"], file.parent))
    shown = {heading: drawn[kind] for heading, kind in _KINDS.items() if drawn[kind]}
    return Section(table, shown, mistakes, sheets)


def _stem(words: str, identity: str) -> str:
    """What the names of pictures begin with, whatever else is on the page.

    So a picture whose numbers are the same keeps its file when rows are added.
    """
    readable = re.sub("[^a-z0-9_]+", "-", words.lower())[:40].strip("-")
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return f"{readable}-{digest[:8]}"
