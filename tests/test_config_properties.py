"""Hundreds of generated mistakes: each ends in one line, exit code 2 and an untouched disk."""

import dataclasses
import pathlib
import typing

import hypothesis
import pytest
from hypothesis import strategies as st

from skdsam_jax.commands import command_line, train
from skdsam_jax.experiment import config
from skdsam_jax.methods import METHODS
from skdsam_jax.models import BACKBONES
from skdsam_jax.options import ConfigError

ROOT = pathlib.Path(__file__).parent.parent
WORDS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12)


def _fields():
    """Every field of every section: (its path, its type, its limits)."""
    sections = [("method", METHODS["skdsam"].Options), *config.SECTIONS.items()]
    for section, cls in sections:
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if (section, field.name) not in (("method", "name"), ("model", "name")):
                yield f"{section}.{field.name}", hints[field.name], field.metadata


FIELDS = list(_fields())
KNOWN = {path.rpartition(".")[2] for path, *_ in FIELDS} | {
    field.name for method in METHODS.values() for field in dataclasses.fields(method.Options)
}


def _wrong_values(hint, limits):
    """Strategies for values that a field of this type and these limits does not take."""
    kinds = typing.get_args(hint) if isinstance(hint, typing.types.UnionType) else (hint,)
    kind = next(kind for kind in kinds if kind is not type(None))
    if typing.get_origin(kind) is tuple:
        kind, *_ = typing.get_args(kind)
    if kind is str:
        if limits["choices"]:
            yield WORDS.filter(lambda word: word not in limits["choices"])
        return
    yield WORDS.filter(lambda word: word not in ("true", "false", "t", "f", "y", "n", "yes", "no"))
    if kind is bool:
        return
    numbers = st.integers(-(10**6), 10**6)
    if limits["minimum"] is not None:
        yield numbers.filter(lambda number: number < limits["minimum"])
    if limits["above"] is not None:
        yield numbers.filter(lambda number: number <= limits["above"])
    if limits["maximum"] is not None:
        yield numbers.filter(lambda number: number > limits["maximum"])
    if limits["below"] is not None:
        yield numbers.filter(lambda number: number >= limits["below"])
    if kind is float:
        yield st.sampled_from(["inf", "nan", "-inf"])


@st.composite
def wrong_settings(draw):
    """One setting that cannot be, as (field, value)."""
    kind = draw(st.sampled_from(["value", "field", "section", "method", "backbone", "option"]))
    if kind == "value":
        options = [(path, wrong) for path, *rest in FIELDS for wrong in _wrong_values(*rest)]
        path, wrong = draw(st.sampled_from(options))
        return path, draw(wrong)
    if kind == "field":
        section = draw(st.sampled_from(["method", *config.SECTIONS]))
        return f"{section}.{draw(WORDS.filter(lambda name: name not in KNOWN))}", 1
    if kind == "section":
        known = {"seed", "method", *config.SECTIONS}
        return f"{draw(WORDS.filter(lambda name: name not in known))}.x", 1
    if kind == "method":
        return "method.name", draw(WORDS.filter(lambda name: name not in METHODS))
    if kind == "backbone":
        return "model.name", draw(WORDS.filter(lambda name: name not in BACKBONES))
    foreign = {field.name for field in dataclasses.fields(METHODS["pd_byot"].Options)}
    own = {field.name for field in dataclasses.fields(METHODS["skdsam"].Options)}
    return f"method.{draw(st.sampled_from(sorted(foreign - own - {'head'})))}", 0.5


@hypothesis.settings(max_examples=400)
@hypothesis.given(setting=wrong_settings())
def test_a_config_that_cannot_be_is_refused_in_one_line(setting):
    path, value = setting
    values = config.default_config().to_dict()
    section, name = path.split(".")
    values.setdefault(section, {})[name] = value
    hypothesis.assume(path != "model.name")  # Only building the network looks that up.
    with pytest.raises(ConfigError) as error:
        config.from_config_dict(values)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"config.{section}")


@hypothesis.settings(
    max_examples=300,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
@hypothesis.given(setting=wrong_settings())
@pytest.mark.filterwarnings("ignore:.*load_module.*:DeprecationWarning")  # ml_collections' loader
def test_a_command_line_that_cannot_be_ends_in_one_line(setting, tmp_path, capsys):
    path, value = setting
    workdir = tmp_path / "run"
    arguments = [
        f"--config={ROOT / 'configs' / 'digits.py'}",
        f"--workdir={workdir}",
        f"--config.{path}={value}",
    ]
    assert train.main(arguments) == command_line.EXIT_BAD_INPUT
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert not workdir.exists()
