"""Claims of the thesis: which runs answer them, and when an answer is yes or no."""

import pytest
from config_files import experiment_of

from skdsam_jax.commands import report
from skdsam_jax.experiment.config import from_config_dict, to_dict
from skdsam_jax.experiment.small_study import SMALL_TABLES
from skdsam_jax.report.claims import CLAIMS, TITLE, claims_table, find_answers
from skdsam_jax.report.measures import interval
from skdsam_jax.report.runs import find_runs, group


@pytest.fixture
def runs(write):
    """Writes runs of a method with the accuracies of their seeds, fields of its config changed."""

    def write_runs(method, accuracies, name="", other=None, **changes):
        config = {"method": {"name": method}}
        for field, value in changes.items():
            section, _, option = field.partition("__")
            config.setdefault(section, {})[option] = value
        for seed, accuracy in enumerate(accuracies):
            folder = write(
                f"{method}{name}-{seed}",
                seed,
                method=method,
                test_accuracy=accuracy,
                config=to_dict(from_config_dict(config)),
                **(other or {}),
            )
        return folder

    return write_runs


def _answers(folder, words):
    found = find_answers(group(find_runs(folder)))
    return [answer for answer in found if answer.claim.words == words]


def _answer(folder, words):
    (answer,) = _answers(folder, words)
    return answer


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((0.60, 0.71, 0.65), "yes"),
        ((0.40, 0.51, 0.45), "no"),
        ((0.51, 0.60, 0.54), "undecided here"),
    ],
)
def test_a_verdict_needs_an_interval_on_one_side_of_zero(runs, accuracies, verdict):
    baseline = (0.50, 0.61, 0.55)
    runs("cross_entropy", baseline)
    answer = _answer(runs("skdsam", accuracies), "SKDSAM beats cross_entropy")
    assert (answer.verdict, answer.seeds) == (verdict, (0, 1, 2))
    differences = [ours - theirs for ours, theirs in zip(accuracies, baseline, strict=True)]
    assert (answer.mean, answer.half_width) == pytest.approx(interval(differences), abs=1e-12)


def test_whatever_has_a_difference_matters(runs):
    runs("byot", (0.50, 0.61, 0.55))
    answer = _answer(runs("pd_byot", (0.40, 0.51, 0.44)), "PD-BYOT's decays matter")
    assert answer.mean < 0
    assert answer.verdict == "yes"


def test_one_seed_answers_nothing(runs):
    runs("cross_entropy", (0.5,))
    assert find_answers(group(find_runs(runs("skdsam", (0.6,))))) == [] != CLAIMS


def test_runs_that_differ_in_something_else_are_no_pair(runs):
    runs("cross_entropy", (0.50, 0.61))
    runs("skdsam", (0.60, 0.71), "-longer", training__epochs=300)
    runs("skdsam", (0.60, 0.71), "-lambda", method__distillation_weight=1.0)
    folder = runs("skdsam", (0.60, 0.71), "-cutout", data__cutout="mean")
    assert _answers(folder, "SKDSAM beats cross_entropy") == []
    folder = runs("skdsam", (0.60, 0.71), "-dot", method__energy="dot")
    assert _answer(folder, "SKDSAM beats cross_entropy").first.words.method == "skdsam (energy=dot)"


def test_other_images_are_no_pair(runs):
    runs("cross_entropy", (0.50, 0.61), other={"dataset": "digits (partial)"})
    runs("byot", (0.50, 0.61), other={"dataset_fingerprint": "0a1b"})
    folder = runs("skdsam", (0.60, 0.71), other={"dataset_fingerprint": "2c3d"})
    for name in ("cross_entropy", "byot"):
        assert _answers(folder, f"SKDSAM beats {name}") == []


def test_attention_is_compared_with_none_and_energies_not_with_each_other(runs):
    runs("skdsam", (0.5, 0.6, 0.7), "-dot", method__energy="dot")
    runs("skdsam", (0.5, 0.6, 0.7))
    folder = runs("skdsam", (0.4, 0.5, 0.6), "-uniform", method__energy="uniform")
    found = _answers(folder, "attention helps")
    assert {answer.first.words.method for answer in found} == {"skdsam", "skdsam (energy=dot)"}
    assert {answer.second.words.method for answer in found} == {"skdsam (energy=uniform)"}


def test_additions_are_compared_with_the_same_runs_without(runs):
    runs("skdsam", (0.5, 0.6))
    runs("skdsam_sla", (0.5, 0.7))
    runs("skdsam", (0.5, 0.6), "-mixup", data__mixup_alpha=1.0)
    folder = runs("skdsam", (0.6, 0.7), "-cutout", data__cutout="mean")
    assert _answer(folder, "Cutout adds to SKDSAM").mean == pytest.approx(0.1)
    assert _answer(folder, "Mixup adds to SKDSAM").mean == pytest.approx(0)
    assert _answer(folder, "SLA adds to SKDSAM").mean == pytest.approx(0.05)


def test_additions_are_compared_with_nothing_else(runs):
    """Not with another energy, and not two additions with none."""
    runs("skdsam", (0.5, 0.6), "-uniform", method__energy="uniform")
    runs("skdsam_sla", (0.5, 0.7))
    both = {"data__cutout": "mean", "data__mixup_alpha": 1.0}
    runs("skdsam", (0.5, 0.6), "-both", method__energy="uniform", **both)
    folder = runs("skdsam", (0.6, 0.7), "-cutout", data__cutout="mean")
    for words in ("Cutout adds to SKDSAM", "Mixup adds to SKDSAM", "SLA adds to SKDSAM"):
        assert _answers(folder, words) == []
    runs("skdsam_sla", (0.5, 0.7), "-uniform", method__energy="uniform")
    assert _answer(folder, "SLA adds to SKDSAM").mean == pytest.approx(0.05)


def test_the_method_with_labels_and_a_warm_up_answers_for_them(runs):
    runs("skdsam", (0.5, 0.6))
    runs("byot", (0.5, 0.6))
    runs("skdsam", (0.6, 0.7), "-plus", method__label_weight=1.0, method__warm_up=0.5)
    folder = runs("skdsam_plus", (0.7, 0.8))
    for other in ("itself without", "byot"):
        found = _answers(folder, f"with labels and a warm-up SKDSAM beats {other}")
        assert [answer.mean for answer in found] == pytest.approx([0.1, 0.2])


def test_an_old_name_of_a_method_is_its_name(runs):
    runs("sla_sd", (0.5, 0.6))
    folder = runs("skdsam", (0.6, 0.7))
    for path in folder.glob("sla_sd-*/summary.json"):
        path.write_text(path.read_text().replace('"sla_sd"', '"cross_entropy_sla"'))
    assert _answer(folder, "SKDSAM beats sla_sd").mean == pytest.approx(0.1)


def test_exits_are_compared_by_their_own_accuracies(runs):
    runs("cross_entropy", (0.5, 0.6), other={"exit_accuracies": [0.5]})
    exits = {"exit_accuracies": [0.1, 0.4, 0.5], "ensemble_accuracy": 0.8}
    folder = runs("skdsam", (0.5, 0.6), other=exits)
    (ensemble,) = (
        each for each in find_answers(group(find_runs(folder))) if each.claim.second is None
    )
    assert ensemble.mean == pytest.approx(0.25)
    assert ensemble.first is ensemble.second
    words = "SKDSAM's last shallow exit is as good a classifier as a network without exits"
    assert _answer(folder, words).mean == pytest.approx(-0.15)


def test_a_table_has_every_claim_and_says_which_was_not_run(runs):
    runs("cross_entropy", (0.50, 0.61, 0.55))
    folder = runs("skdsam", (0.60, 0.71, 0.65))
    table = claims_table(find_answers(group(find_runs(folder))))
    assert {row[0] for row in table.rows} == {claim.words for claim in CLAIMS}
    rows = {row[0]: row[2:] for row in table.rows}
    compared, conditions, seeds, difference, verdict = rows["SKDSAM beats cross_entropy"]
    assert compared == "skdsam minus cross_entropy"
    assert conditions.startswith("digits, recipe thesis; resnet18; thesis, 250 epochs of batch 128")
    assert (seeds, difference, verdict) == ("3", "+10.00 ± 0.00", "yes")
    assert rows["attention helps"] == ("", "", "", "", "not run with two seeds")


def test_a_page_has_the_claims_only_where_one_is_answered(runs, capsys):
    folder = runs("cross_entropy", (0.50, 0.61))
    assert report.main([str(folder)]) == 0
    assert TITLE not in capsys.readouterr().out
    runs("skdsam", (0.60, 0.73), other={"exit_accuracies": [0.1, 0.5]})
    assert report.main([str(folder)]) == 0
    output = capsys.readouterr().out
    assert f"## {TITLE}\n" in output
    assert "undecided otherwise" in output


def test_the_small_study_has_rows_for_every_claim(write):
    """Run with two seeds, its tables would answer them all."""
    cells = {cell.name: cell for table in SMALL_TABLES.values() for cell in table.cells}
    for name, cell in cells.items():
        if cell.teacher:
            continue
        config = to_dict(experiment_of(cell))
        for seed in (0, 1):
            folder = write(
                f"{name}-{seed}",
                seed,
                method=config["method"]["name"],
                config=config | {"seed": seed},
            )
    answered = {answer.claim.words for answer in find_answers(group(find_runs(folder)))}
    assert answered == {claim.words for claim in CLAIMS}
