"""Tables made from measured runs: `python -m skdsam_jax.report results --out results/README.md`.

Runs that differ in nothing but their seed share a row: mean and sample standard deviation over
seeds of the last epoch, which is the protocol of the thesis. The best epoch on the test set stands
beside it as the oracle it is.
"""

import argparse
import json
import pathlib
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skdsam_jax.options import ConfigError
from skdsam_jax.recipes import name_recipe

_COLUMNS = (
    "method",
    "network",
    "recipe",
    "n",
    "last epoch",
    "ensemble",
    "exits, shallow to deep",
    "attention (entropy)",
    "best epoch (oracle)",
    "images/s",
    "hardware",
)

_INTRODUCTION = """\
# Measured runs

Made by `python -m skdsam_jax.report results --out results/README.md` from the `summary.json` files
beside it. Accuracy on the whole test set in %, mean and standard deviation over n seeds of the last
epoch. The best epoch was found by looking at the test set: an oracle, not a result.
"""


def load_summaries(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The summaries of all finished runs below `folder`.

    Raises:
      ConfigError: there are none, or one cannot be read.
    """
    summaries = []
    for path in sorted(folder.glob("**/summary.json")):
        try:
            summary = json.loads(path.read_text())
            if summary["finished"]:
                summaries.append(summary)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{path}: is no summary of a run") from None
    if not summaries:
        raise ConfigError(f"{folder}: holds no summary.json of a finished run")
    return summaries


def make_report(summaries: Iterable[Mapping[str, Any]]) -> str:
    """A Markdown page with one table per data set and one row per experiment."""
    experiments: dict[str, list[Mapping[str, Any]]] = {}
    for summary in summaries:
        same = {**summary["config"], "seed": None, "data": {**summary["config"]["data"]}}
        same["data"]["data_dir"] = None
        key = json.dumps([same, summary["hardware"]["device"]], sort_keys=True)
        experiments.setdefault(key, []).append(summary)
    pages = [_INTRODUCTION]
    groups = sorted(experiments.values(), key=_order)
    for dataset in sorted({runs[0]["dataset"] for runs in groups}):
        rows = [_row(runs) for runs in groups if runs[0]["dataset"] == dataset]
        pages.append(f"## {dataset}\n\n" + _table(rows))
    return "\n".join(pages)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="where the summaries are")
    parser.add_argument("--out", type=pathlib.Path, help="the page to write; printed if not given")
    options = parser.parse_args(arguments)
    try:
        page = make_report(load_summaries(options.folder))
        if options.out:
            options.out.write_text(page)
        else:
            print(page)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _order(runs: Sequence[Mapping[str, Any]]) -> tuple[str, str, int, str]:
    first = runs[0]
    return first["dataset"], first["model"], first["parameters"], first["method"]


def _row(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    first = runs[0]
    model, training = first["config"]["model"], first["config"]["training"]
    width = "" if model["width"] is None else f", width {model['width']}"
    exits = [run["exit_accuracies"] for run in runs]
    # A run of one dispatch has none: its only one compiled.
    rates = [run["images_per_second"] for run in runs if run["images_per_second"] is not None]
    return [
        first["method"] + _changes(first),
        f"{first['model']}{width}",
        f"{name_recipe(first['config'])}, "
        f"{training['epochs']} epochs of batch {training['batch_size']}, "
        f"{training['compute_dtype']}",
        str(len(runs)),
        _percent([run["test_accuracy"] for run in runs]),
        _percent([run["ensemble_accuracy"] for run in runs]),
        " ".join(f"{100 * statistics.mean(values):.2f}" for values in zip(*exits, strict=True)),
        _attention(runs),
        _percent([run["best_test_accuracy"] for run in runs]),
        f"{statistics.median(rates):.0f}" if rates else "",
        f"{first['hardware']['devices']} x {first['hardware']['device']} "
        f"({first['hardware']['cpu']}), jax {first['versions']['jax']}",
    ]


def _changes(summary: Mapping[str, Any]) -> str:
    """The options of the method that are not its defaults."""
    from skdsam_jax.methods import find_method

    fields = find_method(summary["method"]).Options.__dataclass_fields__
    changed = [
        f"{name}={value}"
        for name, value in summary["config"]["method"].items()
        if name != "name" and name in fields and value != fields[name].default
    ]
    return f" ({', '.join(changed)})" if changed else ""


def _attention(runs: Sequence[Mapping[str, Any]]) -> str:
    if runs[0]["attention_weights"] is None:
        return ""
    weights = zip(*(run["attention_weights"] for run in runs), strict=True)
    entropy = statistics.mean(run["attention_entropy"] for run in runs)
    return " ".join(f"{statistics.mean(w):.3f}" for w in weights) + f" ({entropy:.4f})"


def _percent(values: Sequence[float]) -> str:
    """Mean and sample deviation in %; one value has no deviation."""
    text = f"{100 * statistics.mean(values):.2f}"
    return text + (f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else "")


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
