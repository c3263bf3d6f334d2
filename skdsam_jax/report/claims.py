"""What the thesis claims, and what runs say of it; and of what this library adds to SKDSAM.

A claim compares two kinds of runs that differ in nothing but what it is about. Every pair of
experiments that are such gives an answer of its own, for its data, network and epochs, and for no
other.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from skdsam_jax.attention import ENERGIES
from skdsam_jax.experiment.run_description import defaults_of, settings_of
from skdsam_jax.methods import find_method
from skdsam_jax.methods.skdsam_plus import SkdsamPlusOptions
from skdsam_jax.options import filled_in
from skdsam_jax.report.measures import CONFIDENCE, interval, means_by_seed
from skdsam_jax.report.runs import Experiment
from skdsam_jax.report.tables import Table

TITLE = "Claims of the thesis"

Conditions = Mapping[str, Sequence[Any]]

_METHOD = "method."


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement about two kinds of runs, the first of which is said to be more accurate.

    Attributes:
      words: the statement.
      source: the tables of the thesis that it rests on.
      first: field of the config to the values that it may have, in runs of the first kind.
      second: the same of the second kind; None: the same runs, by another measure.
      measures: of the first and of the second kind, names of `_MEASURES`.
      directed: False if it only says that there is a difference.
    """

    words: str
    source: str
    first: Conditions
    second: Conditions | None
    measures: tuple[str, str] = ("deepest exit", "deepest exit")
    directed: bool = True


class Answer(NamedTuple):
    """What one pair of experiments says of a claim.

    Attributes:
      claim: which.
      first: the experiment of the first kind.
      second: that of the second kind.
      seeds: that both have, at least two.
      mean: of the differences of accuracy over these, a share.
      half_width: of its interval, see `measures.interval`.
    """

    claim: Claim
    first: Experiment
    second: Experiment
    seeds: tuple[int, ...]
    mean: float
    half_width: float

    @property
    def verdict(self) -> str:
        """Yes or no where the interval leaves no doubt of the sign, otherwise undecided."""
        if abs(self.mean) <= self.half_width:
            return "undecided here"
        return "yes" if self.mean > 0 or not self.claim.directed else "no"


def _kind(method: str, **options: Sequence[Any]) -> dict[str, Sequence[Any]]:
    return {"method.name": (method,), **{f"{_METHOD}{name}": v for name, v in options.items()}}


_ATTENDING = tuple(energy for energy in ENERGIES if energy != "uniform")
_SKDSAM = _kind("skdsam", energy=ENERGIES)
_CROSS_ENTROPY = _kind("cross_entropy")
_PLUS = {name: (getattr(SkdsamPlusOptions(), name),) for name in ("label_weight", "warm_up")}
_PLAIN = {"data.cutout": ("none",), "data.mixup_alpha": (0.0,)}

CLAIMS: tuple[Claim, ...] = (
    *(
        Claim(f"SKDSAM beats {name}", "4.7 to 4.11", _SKDSAM, _kind(name))
        for name in ("cross_entropy", "ddgsd", "byot", "cs_kd", "sla_sd", "frskd")
    ),
    Claim(
        "attention helps",
        "4.13, 4.14",
        _kind("skdsam", energy=_ATTENDING),
        _kind("skdsam", energy=("uniform",)),
    ),
    Claim(
        "the attention's temperature matters",
        "4.15",
        _kind("skdsam", attention_temperature=(4.0,)),
        _kind("skdsam", attention_temperature=(1.0, 2.0, 3.0)),
        directed=False,
    ),
    Claim(
        "the distillation's temperature matters",
        "4.15",
        _kind("skdsam", temperature=(4.0,)),
        _kind("skdsam", temperature=(1.0,)),
        directed=False,
    ),
    Claim(
        "all exits together beat the deepest, as bagging does",
        "4.7",
        _SKDSAM,
        None,
        ("ensemble", "deepest exit"),
    ),
    Claim(
        "SKDSAM's last shallow exit is as good a classifier as a network without exits",
        "chapter 4",
        _SKDSAM,
        _CROSS_ENTROPY,
        ("last shallow exit", "deepest exit"),
    ),
    Claim(
        "Cutout adds to SKDSAM",
        "4.7 to 4.10",
        _SKDSAM | _PLAIN | {"data.cutout": ("mean", "black"), "data.cutout_size": (None,)},
        _SKDSAM | _PLAIN,
    ),
    Claim(
        "Mixup adds to SKDSAM",
        "4.16, 4.17",
        _SKDSAM | _PLAIN | {"data.mixup_alpha": (0.2, 0.4, 1.0)},
        _SKDSAM | _PLAIN,
    ),
    Claim("SLA adds to SKDSAM", "4.18, 4.19", _kind("skdsam_sla", energy=ENERGIES), _SKDSAM),
    Claim("PD-BYOT's decays matter", "4.3 to 4.6", _kind("pd_byot"), _kind("byot"), directed=False),
    *(
        Claim(f"with labels and a warm-up SKDSAM beats {name}", "not in it", first, second)
        for first in (_kind("skdsam", **_PLUS) | {"method.name": ("skdsam", "skdsam_plus")},)
        for name, second in (
            ("itself without", _kind("skdsam", label_weight=(None,), warm_up=(None,))),
            ("cross_entropy", _CROSS_ENTROPY),
            ("byot", _kind("byot")),
        )
    ),
)


_MEASURES = {
    "deepest exit": lambda summary: summary["test_accuracy"],
    "ensemble": lambda summary: summary["ensemble_accuracy"],
    "last shallow exit": lambda summary: summary["exit_accuracies"][-2],
}
"""Of a run's summary, each a share of the whole test set."""


def find_answers(experiments: Sequence[Experiment]) -> list[Answer]:
    """What the experiments, on whatever hardware, say of each of `CLAIMS`, in their order."""
    settings = [_settings(experiment.runs[0].summary) for experiment in experiments]
    known = list(zip(experiments, settings, strict=True))
    return [answer for claim in CLAIMS for answer in _answers(claim, known)]


def claims_table(answers: Sequence[Answer]) -> Table:
    """A row for each answer, and one for each claim that has none."""
    rows = []
    for claim in CLAIMS:
        own = [_row(answer) for answer in answers if answer.claim is claim]
        rows += own or [(claim.words, claim.source, "", "", "", "", "not run with two seeds")]
    columns = ("claim", "thesis", "compared", "conditions", "n", "difference", "verdict")
    return Table(TITLE, columns, tuple(rows))


def explain_claims() -> str:
    """Says how a verdict comes about."""
    return (
        f'A claim of the thesis is answered "yes" or "no" where the {CONFIDENCE:.0%} interval of '
        "the difference, paired by seed and by Student's t, lies on one side of zero, and is "
        "undecided otherwise. The answer is one for its row's conditions; of many rows one in "
        "twenty errs by chance."
    )


def _settings(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run's numbers; of a set of images its config alone does not tell."""
    data = summary["dataset"], summary.get("dataset_fingerprint")
    return settings_of(summary) | {"dataset": data}


def _answers(
    claim: Claim, known: Sequence[tuple[Experiment, Mapping[str, Any]]]
) -> Iterator[Answer]:
    for first, ours in known:
        if not _meets(ours, claim.first):
            continue
        for second, theirs in known:
            if claim.second is None:
                paired = second is first
            else:
                paired = _meets(theirs, claim.second) and _differ_in(ours, theirs, claim)
            if paired:
                yield from _answer(claim, first, second)


def _meets(settings: Mapping[str, Any], conditions: Conditions) -> bool:
    return all(settings.get(name) in values for name, values in conditions.items())


def _differ_in(ours: Mapping[str, Any], theirs: Mapping[str, Any], claim: Claim) -> bool:
    """Whether two experiments differ in nothing but what the claim is about.

    It is about the fields for which it names other values in the one kind than in the other. Two
    methods have options of their own, which must be at their defaults, or the same.
    """
    names = {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
    if ours["method.name"] != theirs["method.name"]:
        changed = _changes(ours) | _changes(theirs)
        names = {name for name in names if not name.startswith(_METHOD) or name in changed}
    fields = {*claim.first, *claim.second}
    return names <= {name for name in fields if claim.first.get(name) != claim.second.get(name)}


def _changes(settings: Mapping[str, Any]) -> set[str]:
    """The options of a method that are not at their defaults, nor set by the run itself."""
    method = settings["method.name"]
    defaults = defaults_of(method)
    by_run = {f"{_METHOD}{name}" for name in filled_in(find_method(method).Options)}
    return {
        name
        for name, value in settings.items()
        if name.startswith(_METHOD) and name not in by_run and value != defaults.get(name)
    }


def _answer(claim: Claim, first: Experiment, second: Experiment) -> Iterator[Answer]:
    """The answer of a pair; none if it has fewer than two seeds in common."""
    ours, theirs = (
        _values(experiment, measure)
        for experiment, measure in zip((first, second), claim.measures, strict=True)
    )
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if len(seeds) > 1:
        mean, half_width = interval([float(ours[seed] - theirs[seed]) for seed in seeds])
        yield Answer(claim, first, second, seeds, mean, half_width)


def _values(experiment: Experiment, measure: str) -> dict[int, Any]:
    read = _MEASURES[measure]
    values = [{"seed": run["seed"], "value": read(run)} for run in experiment.summaries]
    return means_by_seed(values, "value")


def _row(answer: Answer) -> tuple[str, ...]:
    claim, (ours, theirs) = answer.claim, (answer.first.words, answer.second.words)
    first, second = claim.measures
    methods = f"{ours.method}, {first}, minus {theirs.method}, {second}"
    if first == second:
        methods = f"{ours.method} minus {theirs.method}"
    training = ours.training
    if training != theirs.training:
        training = f"{training} against {theirs.training}"
    difference = f"{100 * answer.mean:+.2f} ± {100 * answer.half_width:.2f}"
    conditions = f"{ours.table}; {ours.network}; {training}"
    seeds = f"{len(answer.seeds)}"
    return claim.words, claim.source, methods, conditions, seeds, difference, answer.verdict
