"""The examples in the docstrings of the losses and of the attention run as they are printed."""

import doctest
import importlib
import inspect
import pkgutil
import re

import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax import attention, losses

MODULES = [f"{losses.__name__}.{module.name}" for module in pkgutil.iter_modules(losses.__path__)]


NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]\d+)?")


class Nearly(doctest.OutputChecker):
    """Accepts numbers to three digits: the last ones differ from machine to machine."""

    def check_output(self, want, got, optionflags):
        texts = [NUMBER.sub("#", "".join(text.split())) for text in (want, got)]
        numbers = [[float(number) for number in NUMBER.findall(text)] for text in (want, got)]
        return texts[0] == texts[1] and np.allclose(*numbers, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [*MODULES, attention.__name__])
def test_examples(name):
    module = importlib.import_module(name)
    # Examples are for reading: they have jax.numpy at hand, and everything public.
    names = {"jnp": jnp} | {name: getattr(losses, name) for name in losses.__all__}
    runner = doctest.DocTestRunner(checker=Nearly())
    for test in doctest.DocTestFinder().find(module, extraglobs=names):
        runner.run(test)
    assert not runner.failures


def test_every_public_function_has_an_example():
    without = [
        name
        for name in losses.__all__
        if inspect.isfunction(function := getattr(losses, name)) and ">>>" not in function.__doc__
    ]
    assert not without


def test_names_are_sorted():
    assert losses.__all__ == sorted(losses.__all__)
