"""How `predict` writes its answers: as a table, as CSV or as JSON lines."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple


class Prediction(NamedTuple):
    """What was said of one file.

    Attributes:
      file: its path as it was given or found.
      exit: the exit that answered, from 1.
      ranked: names and probabilities of the most probable classes, the most probable first.
    """

    file: str
    exit: int
    ranked: Sequence[tuple[str, float]]


class Layout(NamedTuple):
    """What all answers of a command have in common; no answer must be waited for to know it.

    Attributes:
      file_width: characters of the longest file's name.
      class_width: characters of the longest class name.
      top: how many classes stand behind a file.
      exits: whether it is said which exit answered.
    """

    file_width: int
    class_width: int
    top: int
    exits: bool


def as_table(predictions: Iterable[Prediction], layout: Layout) -> Iterator[str]:
    """A line for each file, in columns, as soon as its prediction is there; no header."""
    for file, exit_, ranked in predictions:
        cells = [file.ljust(layout.file_width), *([f"exit {exit_}"] if layout.exits else [])]
        cells += [
            f"{name.ljust(layout.class_width)} {probability:.4f}" for name, probability in ranked
        ]
        yield "  ".join(cells)


def as_csv(predictions: Iterable[Prediction], layout: Layout) -> Iterator[str]:
    """A header and a row for each file.

    Columns are `file`, `exit` if it is said, `class` and `probability`, and those of the next
    classes, `class_2`, `probability_2` and so on.
    """
    names = ["file", *(["exit"] if layout.exits else []), "class", "probability"]
    names += [
        f"{name}_{place}" for place in range(2, layout.top + 1) for name in ("class", "probability")
    ]
    yield _row(names)
    for file, exit_, ranked in predictions:
        cells = [file, *([exit_] if layout.exits else [])]
        yield _row([*cells, *(value for pair in ranked for value in pair)])


def as_json_lines(predictions: Iterable[Prediction], layout: Layout) -> Iterator[str]:
    """An object for each file: `file`, `exit`, `class`, `probability` and `top`, a list of both."""
    for file, exit_, ranked in predictions:
        classes = [{"class": name, "probability": probability} for name, probability in ranked]
        said = {"exit": exit_} if layout.exits else {}
        yield json.dumps({"file": file, **said, **classes[0], "top": classes})


def _row(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


FORMATS: dict[str, Callable[[Iterable[Prediction], Layout], Iterator[str]]] = {
    "table": as_table,
    "csv": as_csv,
    "jsonl": as_json_lines,
}
