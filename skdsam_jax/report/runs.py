"""The runs below a folder, as their files tell of them."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from skdsam_jax.experiment.run_description import RunDescription, describe
from skdsam_jax.methods import METHODS, current_name
from skdsam_jax.options import ConfigError

# Where `evaluate` writes by default, and where a copy of a run's results may have it.
_EVALUATIONS = ("evaluation/evaluation.json", "evaluation.json")

# What tells the files of runs and of `evaluate` from other programs' of the same name.
_OF_A_RUN = {
    *("method", "model", "dataset", "seed", "config", "parameters", "versions", "hardware"),
    *("test_accuracy", "exit_accuracies", "attention_weights", "images_per_second"),
}
_OF_AN_EVALUATION = {
    *("method", "model", "dataset", "split", "step", "examples", "exits", "any_exit"),
    *("class_accuracies", "confusion_matrix"),
}


class Evaluation(NamedTuple):
    """What `evaluate` measured.

    Attributes:
      file: its evaluation.json.
      result: what is in it.
    """

    file: pathlib.Path
    result: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
      folder: where its files are.
      summary: its summary.json, in the form of this version.
    """

    folder: pathlib.Path
    summary: Mapping[str, Any]

    @functools.cached_property
    def history(self) -> list[Mapping[str, Any]]:
        """The lines of metrics.jsonl, an epoch each; none if there is no such file.

        Raises:
          ConfigError: a line is damaged.
        """
        return _history(self.folder)

    @functools.cached_property
    def evaluation(self) -> Evaluation | None:
        """What `evaluate` wrote in the run's folder, if it did.

        Raises:
          ConfigError: it is damaged.
        """
        return next(_evaluations(self.folder / name for name in _EVALUATIONS), None)


class Experiment(NamedTuple):
    """Runs that differ in nothing but their seed, and what they were computed on.

    Attributes:
      words: what they are.
      runs: at least one, in the order of their folders.
    """

    words: RunDescription
    runs: tuple[Run, ...]

    @property
    def summaries(self) -> list[Mapping[str, Any]]:
        """Of all its runs."""
        return [run.summary for run in self.runs]

    @property
    def seeds(self) -> list[int]:
        """Ascending, each once."""
        return sorted({run.summary["seed"] for run in self.runs})

    @property
    def machines(self) -> dict[str, list[Mapping[str, Any]]]:
        """What they were computed on, sorted, to the summaries of the runs there."""
        machines: dict[str, list[Mapping[str, Any]]] = {}
        for summary in sorted(self.summaries, key=machine_of):
            machines.setdefault(machine_of(summary), []).append(summary)
        return machines

    @property
    def evaluated(self) -> Run | None:
        """The run of the lowest seed that `evaluate` measured; None: it measured none."""
        measured = (run for run in self.runs if run.evaluation is not None)
        return min(measured, key=lambda run: run.summary["seed"], default=None)


class Unfinished(NamedTuple):
    """A run that is under way, stopped or failed: its folder and what its config says.

    Attributes:
      failure: such as "step 29 was not finite"; empty of a run that did not fail.
      command: of the process that failed; empty of other runs.
    """

    folder: pathlib.Path
    method: str
    model: str
    dataset: str
    seed: int
    epochs: int
    finished_epochs: int
    failure: str = ""
    command: str = ""


def machine_of(summary: Mapping[str, Any]) -> str:
    """What a run was computed on, such as "1 x NVIDIA H200 (AMD EPYC, 16 cores)"."""
    hardware = summary["hardware"]
    cores = f", {hardware['cpu_cores']} cores" if "cpu_cores" in hardware else ""
    return f"{hardware['devices']} x {hardware['device']} ({hardware['cpu']}{cores})"


def find_runs(folder: pathlib.Path) -> list[Run]:
    """The finished runs below `folder`, in the order of their folders.

    Raises:
      ConfigError: a summary cannot be read.
    """
    runs = []
    for path in sorted(folder.glob("**/summary.json")):
        try:
            summary = _read(path)
            if summary["finished"]:
                if not summary.keys() >= _OF_A_RUN:
                    raise KeyError
                runs.append(Run(path.parent, _of_today(summary)))
        except (KeyError, TypeError):
            raise ConfigError(f"{path}: is no summary of a run") from None
    return runs


def find_unfinished(folder: pathlib.Path) -> list[Unfinished]:
    """The runs below `folder` that began and have not finished, in the order of their folders.

    A workdir has its config.json from the start; a record has none, but a summary that holds it.
    """
    names = ("config.json", "summary.json")
    folders = {path.parent for name in names for path in folder.glob(f"**/{name}")}
    return [run for run in map(_unfinished, sorted(folders)) if run is not None]


def _unfinished(folder: pathlib.Path) -> Unfinished | None:
    """The run in `folder`; None: it is finished, or another program's."""
    try:
        file = folder / "summary.json"
        summary = _read(file) if file.exists() else {"finished": False}
        if summary["finished"]:
            return None
        config = summary["config"] if "config" in summary else _read(folder / "config.json")
        names = [config[part]["name"] for part in ("method", "model", "data")]
        numbers = config["seed"], config["training"]["epochs"]
        failure = summary.get("failure") or ""
        command = summary["command"] if failure else ""
    except (ConfigError, OSError, KeyError, TypeError):
        return None  # Another program's file, or one that is being written.
    metrics = folder / "metrics.jsonl"
    # A run that was killed may have left a part of a line.
    done = metrics.read_text().count("\n") if metrics.exists() else 0
    return Unfinished(folder, *names, *numbers, done, failure, command)


def find_evaluations(folder: pathlib.Path, runs: Sequence[Run]) -> list[Evaluation]:
    """What was measured below `folder` apart from these runs, in the order of the files.

    Raises:
      ConfigError: a file is damaged.
    """
    own = {run.evaluation.file for run in runs if run.evaluation is not None}
    files = sorted(folder.glob("**/evaluation.json"))
    return [*_evaluations(file for file in files if file not in own)]


def _evaluations(files: Iterable[pathlib.Path]) -> Iterator[Evaluation]:
    """Of those files that are there; another program's are passed over."""
    for file in files:
        if file.is_file():
            result = _read(file)
            if isinstance(result, dict) and result.keys() >= _OF_AN_EVALUATION:
                yield Evaluation(file, result)


def group(runs: Sequence[Run]) -> list[Experiment]:
    """The experiments that the runs were, in the order of a page."""
    digests = (run.summary.get("params_digest") for run in runs)
    pairs = zip(digests, runs, strict=True)
    teachers = {digest: run.summary for digest, run in pairs if digest is not None}
    experiments: dict[RunDescription, list[Run]] = {}
    for run in runs:
        experiments.setdefault(describe(run.summary, teachers), []).append(run)
    return [Experiment(words, tuple(experiments[words])) for words in sorted(experiments)]


def _of_today(summary: dict[str, Any]) -> dict[str, Any]:
    # Of earlier versions, in which rotations alone had a second prediction.
    aggregated = summary.pop("aggregated_accuracy", None)
    if aggregated is not None:
        summary["other_accuracies"] = {"aggregated": aggregated}
    if _has_no_attention(current_name(summary["method"])):
        summary["attention_weights"] = None
    return summary


def _has_no_attention(method: str) -> bool:
    """Of such methods earlier versions wrote weights too, always uniform."""
    return method in METHODS and not hasattr(METHODS[method].Options, "energy")


def _history(folder: pathlib.Path) -> list[Mapping[str, Any]]:
    file = folder / "metrics.jsonl"
    try:
        return [json.loads(line) for line in file.read_text().splitlines()]
    except FileNotFoundError:
        return []
    except ValueError:
        raise ConfigError(f"{file}: has a damaged line") from None


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise ConfigError(f"{path}: is damaged") from None
