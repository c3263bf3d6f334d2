"""The files of docs/extending.md in a folder of their own, which is the working directory."""

import pathlib
import shlex
import sys

import pytest
from extending_page import COMMANDS, FILES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Modules written to it can be imported, and are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and pathlib.Path(file).parent == tmp_path:
            del sys.modules[name]


@pytest.fixture
def command_of():
    """The flags of the one command of the page that has a word in it."""

    def find(word):
        (flags,) = (flags for flags in map(shlex.split, COMMANDS) if word in flags)
        return flags

    return find
