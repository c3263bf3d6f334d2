"""Pictures of what runs did while they trained; they need matplotlib."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skdsam_jax.report.drawing import COLOURS, HEIGHT, PLAIN, Picture, look, render, wrapped
from skdsam_jax.report.measures import by_seed, images_read
from skdsam_jax.report.runs import Experiment
from skdsam_jax.report.series import (
    AttentionCurves,
    LearningCurves,
    Series,
    attention_curves,
    learning_curves,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More epochs than these have no mark each.
_MOST_MARKS = 20


def draw_accuracies(experiments: Sequence[Experiment], name: str) -> Picture:
    """The last epoch's accuracy of all experiments of a table, one above the other."""
    labels = [wrapped(label, 42, lines=3) for label in labels_of(experiments)]
    values = [100 * by_seed(each.summaries, "test_accuracy") for each in experiments]
    # In inches from the top: as high as its label.
    heights = np.array([0.1 + 0.12 * (1 + label.count("\n")) for label in labels])
    places = np.cumsum(heights) - heights / 2

    def fill(figure: "Figure") -> None:
        axes = figure.add_subplot()
        for place, seeds in zip(places, values, strict=True):
            bar = seeds.std(ddof=1) if len(seeds) > 1 else None
            axes.errorbar(seeds.mean(), place, xerr=bar, fmt="o", color=COLOURS[0], capsize=3)
        axes.set_yticks(places, labels, fontsize=7)
        axes.set(xlabel="test accuracy, %", ylim=(heights.sum(), 0))

    table = experiments[0].words.table
    seeds = max(len(each.seeds) for each in experiments)
    bars = "mean and standard deviation over seeds" if seeds > 1 else "one seed each"
    png = render([table], fill, height=1.2 + heights.sum())
    return Picture(name, f"Test accuracy in the last epoch, {bars}: {table}", png)


def labels_of(experiments: Sequence[Experiment]) -> list[str]:
    """A name for each experiment of a table, which no other has.

    The network is no part of it where all have the same, and of the training only what is added to
    the recipe and that by which experiments of one method and network differ.
    """
    words = [each.words for each in experiments]
    alike = len({each.network for each in words}) == 1
    names = [
        " + ".join((each.method if alike else f"{each.method}, {each.network}", *each.additions))
        for each in words
    ]
    parts = [(*each.schedule, *each.changes) for each in words]
    shared: dict[str, set[str]] = {}
    for name, own in zip(names, parts, strict=True):
        shared[name] = shared.get(name, set(own)) & set(own)
    return [
        ", ".join([name, *(part for part in own if part not in shared[name])])
        for name, own in zip(names, parts, strict=True)
    ]


def draw_images_read(experiments: Sequence[Experiment], name: str) -> Picture | None:
    """The deepest exit of all experiments of a table over the images that each read, best first.

    Many lines are drawn in several panels, each with its own before all others in grey.

    None where fewer than two have metrics.jsonl and counted their images.
    """
    lines: list[tuple[np.ndarray, np.ndarray, str]] = []
    for experiment, label in zip(experiments, labels_of(experiments), strict=True):
        curves, read = learning_curves(experiment), images_read(experiment.summaries)
        if curves is None or read is None:
            continue
        series, epochs = curves.test[-1], experiment.summaries[0]["config"]["training"]["epochs"]
        images = series.epochs * read[0] / epochs / 1e3
        lines.append((images, series.mean, wrapped(label, 38, lines=3)))
    if len(lines) < 2:
        return None
    lines.sort(key=lambda line: line[1][-1], reverse=True)
    # No more to a panel than there are colours, and in each about as many.
    parts = np.array_split(np.arange(len(lines)), -(-len(lines) // len(COLOURS)))
    panels = [[lines[number] for number in part] for part in parts]
    # In inches: as high as the legend beside it.
    heights = [
        max(1.3, 0.3 + 0.115 * sum(1.3 + label.count("\n") for *_, label in panel))
        for panel in panels
    ]

    def fill(figure: "Figure") -> None:
        rows = figure.subplots(
            len(panels), sharex=True, sharey=True, squeeze=False, height_ratios=heights
        )
        for axes, panel in zip(rows[:, 0], panels, strict=True):
            if len(panels) > 1:
                for images, accuracy, _ in lines:
                    axes.plot(images, accuracy, color="0.85", linewidth=0.6)
            for number, (images, accuracy, label) in enumerate(panel):
                axes.plot(images, accuracy, label=label, **look(number))
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=6, frameon=False)
        rows[-1, 0].set(xlabel="thousand images read")
        figure.supylabel("test accuracy, %", fontsize=9)

    table = experiments[0].words.table
    png = render([table], fill, 0.8 + sum(heights))
    return Picture(name, f"Test accuracy against images read, means over seeds: {table}", png)


def draw_learning(experiment: Experiment, name: str) -> Picture | None:
    """Accuracy of every exit and the loss over epochs; None without metrics.jsonl."""
    curves = learning_curves(experiment)
    if curves is None:
        return None
    png = render(title_of(experiment), lambda figure: _learning(figure, curves), 1.5 * HEIGHT)
    return Picture(name, _caption("Learning curves", experiment), png)


def draw_attention(experiment: Experiment, name: str) -> Picture | None:
    """Attention weights and their entropy over epochs; None for methods that do not attend."""
    curves = attention_curves(experiment)
    if curves is None:
        return None
    png = render(title_of(experiment), lambda figure: _attention(figure, curves), 1.5 * HEIGHT)
    return Picture(name, _caption("Attention weights and their entropy", experiment), png)


def title_of(experiment: Experiment) -> list[str]:
    """The lines of a title: method and network, data and recipe."""
    words = experiment.words
    return [f"{words.method} on {words.network}", words.table]


def _caption(what: str, experiment: Experiment) -> str:
    words, seeds = experiment.words, len(experiment.seeds)
    many = f"mean and standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    return f"{what}, {many}: {words.method} on {words.network}; {words.table}; {words.training}"


def _learning(figure: "Figure", curves: LearningCurves) -> None:
    accuracy, loss = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    exits = len(curves.test)
    for number, series in enumerate(curves.test):
        _line(accuracy, series, look(number), _label(number, exits))
    if curves.train is not None:
        accuracy.plot(
            curves.train.epochs,
            curves.train.mean,
            color="0.45",
            linewidth=1,
            label="training" if exits == 1 else "training, deepest exit",
        )
    accuracy.set(ylabel="accuracy, %")
    accuracy.legend(loc="best")
    _line(loss, curves.loss, PLAIN)
    loss.set(ylabel="training loss", xlabel="epoch")
    _whole_epochs(loss)


def _attention(figure: "Figure", curves: AttentionCurves) -> None:
    weights, entropy = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    for number, series in enumerate(curves.weights):
        _line(weights, series, look(number), f"exit {number + 1}")
    weights.set(ylabel="mean attention weight", ylim=(0, 1))
    weights.legend(loc="best")
    _line(entropy, curves.entropy, PLAIN)
    entropy.axhline(curves.uniform, color="0.45", linestyle=":", label="uniform weights")
    entropy.set(ylabel="entropy, nats", xlabel="epoch", ylim=(0, 1.15 * max(curves.uniform, 0.1)))
    entropy.legend(loc="lower right")
    _whole_epochs(entropy)


def _label(number: int, exits: int) -> str:
    if exits == 1:
        return "test"
    return f"test, exit {number + 1}" + (" (deepest)" if number == exits - 1 else "")


def _line(axes: "Axes", series: Series, style: Mapping[str, Any], label: str | None = None) -> None:
    """The mean with its band; without a deviation there is none."""
    if len(series.epochs) > _MOST_MARKS:
        style = {**style, "marker": ""}
    axes.plot(series.epochs, series.mean, label=label, **style)
    if not np.isnan(series.deviation).all():
        low, high = series.mean - series.deviation, series.mean + series.deviation
        axes.fill_between(series.epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _whole_epochs(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
