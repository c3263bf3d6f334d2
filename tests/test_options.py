"""Options: what fields take, and how they refuse the rest."""

import dataclasses

import pytest

from skdsam_jax.options import (
    ConfigError,
    build,
    filled_in,
    find,
    number,
    numbers_of,
    option,
    other_default,
)


@dataclasses.dataclass(frozen=True)
class Sample:
    count: int = option(3, "a count", minimum=1, maximum=9)
    rate: float = option(0.5, "a rate", above=0, below=1)
    kind: str = option("plain", "a kind", choices=("plain", "fancy"))
    flag: bool = option(False, "a flag")
    shares: tuple[float, ...] = option((0.1,), "shares", above=0)
    pair: tuple[int, int] = option((1, 2), "a pair")
    limit: int | None = option(None, "a limit", minimum=0)


def test_missing_names_take_their_defaults():
    assert build(Sample, {}, "config") == Sample()


def test_values_become_the_fields_types():
    built = build(Sample, {"rate": 0.25, "shares": [1, 2.5], "limit": 4, "pair": [3, 4]}, "config")
    assert built == Sample(rate=0.25, shares=(1.0, 2.5), limit=4, pair=(3, 4))
    assert all(isinstance(share, float) for share in built.shares)


def test_optional_field_takes_none():
    assert build(Sample, {"limit": None}, "config").limit is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 1}, "config.x.cuont: unknown field; did you mean count?"),
        ({"zzz": 1}, "config.x.zzz: unknown field; known are count, flag, kind"),
        ({"count": 0}, "config.x.count: takes at least 1, not 0"),
        ({"count": 10}, "config.x.count: takes at most 9, not 10"),
        ({"count": 1.5}, "config.x.count: takes a whole number, not 1.5"),
        ({"count": True}, "config.x.count: takes a whole number, not True"),
        ({"count": None}, "config.x.count: takes a whole number, not None"),
        ({"rate": 0}, "config.x.rate: takes more than 0, not 0.0"),
        ({"rate": 1.0}, "config.x.rate: takes less than 1, not 1.0"),
        ({"rate": float("nan")}, "config.x.rate: takes a finite number, not nan"),
        ({"rate": "fast"}, "config.x.rate: takes a number, not 'fast'"),
        ({"kind": "fncy"}, "config.x.kind: unknown value 'fncy'; did you mean fancy?"),
        ({"flag": 1}, "config.x.flag: takes True or False, not 1"),
        ({"shares": 0.5}, "config.x.shares: takes a list of values, not 0.5"),
        ({"shares": (0.5, -1)}, "config.x.shares: takes more than 0, not -1.0"),
        ({"pair": (1, 2, 3)}, "config.x.pair: takes 2 values, not 3"),
        ({"limit": -1}, "config.x.limit: takes at least 0, not -1"),
        ({"limit": "no"}, "config.x.limit: takes a whole number, not 'no'"),
    ],
)
def test_refusals_are_one_line_that_names_the_field(values, message):
    with pytest.raises(ConfigError) as error:
        build(Sample, values, "config.x")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_numbers_are_the_fields_declared_as_such_that_have_a_value():
    @dataclasses.dataclass(frozen=True)
    class Weighted(Sample):
        weight: float = number(1.0, "a weight", minimum=0)
        other: float | None = number(None, "another")

    assert numbers_of(Sample()) == {}
    assert numbers_of(Weighted(weight=2.0)) == {"weight": 2.0}
    assert numbers_of(build(Weighted, {"other": 3}, "config")) == {"weight": 1.0, "other": 3.0}
    with pytest.raises(ConfigError, match=r"config\.weight: takes at least 0, not -1"):
        build(Weighted, {"weight": -1}, "config")


def test_another_default_changes_nothing_else():
    @dataclasses.dataclass(frozen=True)
    class Original:
        weight: float = number(1.0, "a weight", minimum=0)

    @dataclasses.dataclass(frozen=True)
    class Changed(Original):
        weight: float = other_default(Original, "weight", 3.0, "another weight")

    assert (Original().weight, numbers_of(Changed())) == (1.0, {"weight": 3.0})
    with pytest.raises(ConfigError, match=r"config\.weight: takes at least 0, not -1"):
        build(Changed, {"weight": -1}, "config")
    (before,), (after,) = dataclasses.fields(Original), dataclasses.fields(Changed)
    assert after.metadata == {**before.metadata, "help": "another weight"}


def test_fields_that_a_run_fills_in_are_declared_so():
    @dataclasses.dataclass(frozen=True)
    class Begun(Sample):
        digest: str | None = option(None, "of a file", filled_in=True)

    assert (filled_in(Sample), filled_in(Begun)) == (set(), {"digest"})
    assert build(Begun, {"digest": "ab"}, "config").digest == "ab"


def test_find_returns_what_stands_under_a_name():
    assert find({"one": 1, "two": 2}, "two", "config.x") == 2


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("tow", {}, "config.x: unknown value 'tow'; did you mean two?"),
        (
            "tow",
            {"every": True},
            "config.x: unknown value 'tow'; did you mean two? Known are one, two",
        ),
        ("", {"kind": "number"}, "config.x: unknown number ''; known are one, two"),
        ("nine9", {"also": ["nine<n>"]}, "config.x: unknown value 'nine9'; did you mean nine<n>?"),
    ],
)
def test_find_says_which_names_there_are(name, settings, message):
    with pytest.raises(ConfigError) as error:
        find({"one": 1, "two": 2}, name, "config.x", **settings)
    assert str(error.value) == message
