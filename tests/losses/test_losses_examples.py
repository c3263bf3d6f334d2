"""The examples in the docstrings of the losses and of the attention run as they are printed."""

import doctest
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import pytest

from skdsam_jax import attention, losses

MODULES = [f"{losses.__name__}.{module.name}" for module in pkgutil.iter_modules(losses.__path__)]


@pytest.mark.parametrize("name", [*MODULES, attention.__name__])
def test_examples(name):
    module = importlib.import_module(name)
    # Examples are for reading: they have jax and jax.numpy at hand, and everything public.
    names = {"jax": jax, "jnp": jnp} | {name: getattr(losses, name) for name in losses.__all__}
    failed, _ = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


def test_every_public_function_has_an_example():
    without = [
        name
        for name in losses.__all__
        if inspect.isfunction(function := getattr(losses, name)) and ">>>" not in function.__doc__
    ]
    assert not without


def test_names_are_sorted():
    assert losses.__all__ == sorted(losses.__all__)
