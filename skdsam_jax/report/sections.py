"""What stands on a page below each table: the pictures of its experiments."""

import re
from collections.abc import Sequence

from skdsam_jax.report import evaluation_pictures
from skdsam_jax.report.drawing import Picture
from skdsam_jax.report.page import Mistakes, Section
from skdsam_jax.report.run_pictures import draw_accuracies, draw_attention, draw_learning
from skdsam_jax.report.runs import Evaluation, Experiment
from skdsam_jax.report.tables import Table

# Headings, in the order of the page, and the end of the name of the pictures below each.
_KINDS = {
    "Accuracies": "accuracies",
    "Learning curves": "learning",
    "Attention": "attention",
    "Accuracy against FLOPs": "accuracy_against_flops",
    "Calibration": "reliability",
    "Confusion": "confusion_matrix",
}


def draw_section(
    table: Table,
    number: int,
    experiments: Sequence[Experiment] = (),
    evaluations: Sequence[Evaluation] = (),
    *,
    pictures: bool,
) -> Section:
    """A table with all that can be drawn of its experiments.

    Of an experiment that `evaluate` measured with several seeds, the lowest seed's is drawn.

    Args:
      table: the table.
      number: of the table on the page, which begins the names of the pictures.
      experiments: one for each of its rows, in a table of experiments.
      evaluations: one for each of its rows, in a table of evaluations.
      pictures: whether there are any; without, the mistakes are still named.
    """
    drawn: dict[str, list[Picture]] = {kind: [] for kind in _KINDS.values()}
    drawn["worst_mistakes"] = sheets = []
    mistakes, measured = [], []
    if pictures and len(experiments) > 1:
        drawn["accuracies"].append(draw_accuracies(experiments, f"{number:02}-accuracies"))
    for row, experiment in enumerate(experiments, 1):
        stem = (
            f"{number:02}-{row:02}-{_slug(f'{experiment.words.method}-{experiment.words.model}')}"
        )
        if pictures:
            learning = draw_learning(experiment, f"{stem}-learning")
            attention = draw_attention(experiment, f"{stem}-attention")
            drawn["learning"] += [learning] if learning else []
            drawn["attention"] += [attention] if attention else []
        run = experiment.evaluated
        if run is not None:
            words = experiment.words
            trained = f"{words.network}; seed {run.summary['seed']}; {words.training}"
            measured.append((stem, trained, run.evaluation))
    for row, evaluation in enumerate(evaluations, 1):
        name = f"{evaluation.result['method']}-{evaluation.result['model']}"
        stem = f"{number:02}-{row:02}-{_slug(name)}"
        measured.append((stem, f"step {evaluation.result['step']}", evaluation))
    for stem, trained, (file, result) in measured:
        if pictures:
            for picture in evaluation_pictures.draw(result, file.parent):
                caption = f"{picture.caption}; {trained}"
                named = Picture(f"{stem}-{picture.name}", caption, picture.png)
                drawn[picture.name].append(named)
        if result.get("worst_mistakes"):
            title = f"{result['method']} on {result['dataset']}, split {result['split']}; {trained}"
            mistakes.append(Mistakes(title, result["worst_mistakes"], file.parent))
    shown = {heading: drawn[kind] for heading, kind in _KINDS.items() if drawn[kind]}
    return Section(table, shown, mistakes, sheets)


def _slug(words: str) -> str:
    """A part of a file's name."""
    return re.sub("[^a-z0-9_]+", "-", words.lower())[:40].strip("-")
