"""A command starts itself anew with TCMalloc, where there is one and nobody chose otherwise."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from skdsam_jax import allocator

# What stands for TCMalloc is a library that every process has anyway.
PROGRAM = """
import json, os, sys
from skdsam_jax import allocator
with open("/proc/self/maps") as file:
    mapped = {line.split()[-1] for line in file if "/libc" in line}
found = {path for path in mapped if path.rsplit("/", 1)[1].startswith(("libc.so", "libc-"))}
(library,) = found
allocator.find_tcmalloc = lambda: library
before = os.environ.get("LD_PRELOAD")
print(json.dumps([os.getpid(), before]), flush=True)
allocator.restart_with_tcmalloc()
print(json.dumps([sys.argv, sys.stdin.read()]))
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD is Linux's")


def _run(*options, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM, "one", "two words"],
        input="typed",
        env=environment | variables,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    *starts, last = map(json.loads, done.stdout.splitlines())
    assert last == [["-c", "one", "two words"], "typed"]
    return starts


@linux
@pytest.mark.parametrize("options", [(), ("-X", "utf8", "-W", "error")])
def test_a_program_is_started_again_once_as_the_same_process(options):
    first, second = _run(*options)
    assert first[0] == second[0]
    assert first[1] is None
    assert pathlib.Path(second[1]).name.startswith(("libc.so", "libc-"))


@linux
@pytest.mark.parametrize("chosen", ["", "libc.so.6"])
def test_who_has_chosen_is_left_alone(chosen):
    assert [start[1] for start in _run(LD_PRELOAD=chosen)] == [chosen]


@pytest.mark.parametrize("missing", ["library", "linux", "executable"])
def test_all_stays_as_it_is_where_there_is_nothing_to_start_with(monkeypatch, missing):
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("was started anew"))
    monkeypatch.setattr(allocator, "find_tcmalloc", lambda: None if missing == "library" else "lib")
    if missing == "linux":
        monkeypatch.setattr(sys, "platform", "darwin")
    if missing == "executable":
        monkeypatch.setattr(sys, "executable", "")
    allocator.restart_with_tcmalloc()


def test_a_system_that_refuses_is_gone_on_without(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(os, "execve", refuse)
    monkeypatch.setattr(allocator, "find_tcmalloc", lambda: "lib")
    allocator.restart_with_tcmalloc()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Where libraries are looked for; a made-up one is written there by its header alone."""
    found = [tmp_path / "a", tmp_path / "b", tmp_path / "two words"]
    monkeypatch.setattr(allocator, "_folders", lambda: iter(found))

    def write(folder, name, header=b"\x7fELF" + b"\x02" + bytes(13) + b"\x3e\x00"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(header)
        return str(tmp_path / folder / name)

    monkeypatch.setattr(sys, "executable", write("c", "python"))
    return write


def test_tcmalloc_is_found_where_libraries_are_and_not_loaded(folders):
    """Loaded beside another allocator it would free what that one gave out."""
    assert allocator.find_tcmalloc() is None
    large = folders("b", "libtcmalloc.so.4")
    assert allocator.find_tcmalloc() == large
    minimal = folders("b", "libtcmalloc_minimal.so.4")
    assert allocator.find_tcmalloc() == minimal
    assert allocator.name() == "default"


def test_a_name_that_the_linker_would_cut_is_no_use(folders):
    folders("two words", "libtcmalloc.so.4")
    assert allocator.find_tcmalloc() is None


@pytest.mark.parametrize(
    "header",
    [b"", b"no library", b"\x7fELF\x01" + bytes(13) + b"\x3e\x00", b"\x7fELF\x02" + bytes(15)],
)
def test_a_library_for_other_processes_is_no_use(folders, header):
    folders("a", "libtcmalloc.so.4", header)
    assert allocator.find_tcmalloc() is None
    usable = folders("b", "libtcmalloc.so.4")
    assert allocator.find_tcmalloc() == usable


def test_where_programs_are_of_another_kind_there_is_none(folders, monkeypatch):
    monkeypatch.setattr(sys, "executable", __file__)
    assert allocator.find_tcmalloc() is None


def test_folders_of_the_user_come_first(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/first::/second")
    assert [str(folder) for folder in allocator._folders()][:2] == ["/first", "/second"]
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert pathlib.Path("/usr/lib64") in allocator._folders()


@pytest.mark.skipif(allocator.find_tcmalloc() is None, reason="TCMalloc is not installed")
def test_tcmalloc_is_known_by_name():
    program = "from skdsam_jax import allocator as a; print(a.name())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"LD_PRELOAD": allocator.find_tcmalloc()},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "tcmalloc\n"
