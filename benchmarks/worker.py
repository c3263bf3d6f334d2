"""Every implementation in a process of its own: neither sees the other's threads or memory."""

import contextlib
import importlib
import multiprocessing
import os
import traceback
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from skdsam_jax.allocator import find_tcmalloc


class WorkerError(RuntimeError):
    """A call failed in a worker; the message is the worker's traceback."""


class Worker:
    """An object that lives in another process.

    Between calls its process waits and uses no CPU. Arguments and results are pickled.
    """

    def __init__(
        self, target: str, *arguments: Any, environment: Mapping[str, str] | None = None
    ) -> None:
        """Starts the process and builds the object there.

        Args:
          target: its class, as "module:name"; imported in the new process only.
          *arguments: what the class is called with.
          environment: the process starts with these variables too, which JAX and glibc read then.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, target, arguments), daemon=True
        )
        with _in_environment(environment or {}):
            self._process.start()
        theirs.close()
        self._receive()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()

    def __call__(self, name: str, *arguments: Any) -> Any:
        """Calls the object's method `name` and waits for its result.

        Raises:
          WorkerError: it raised something, or its process died.
        """
        self._pipe.send((name, arguments))
        return self._receive()

    def _receive(self) -> Any:
        try:
            succeeded, result = self._pipe.recv()
        except EOFError:
            self._process.join(timeout=10)
            raise WorkerError(f"a worker ended with code {self._process.exitcode}") from None
        if not succeeded:
            raise WorkerError(result)
        return result


def as_commands_start() -> dict[str, str]:
    """The environment in which `allocator.restart_with_tcmalloc` has commands run."""
    return {"LD_PRELOAD": os.environ.get("LD_PRELOAD", find_tcmalloc() or "")}


@contextlib.contextmanager
def _in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """What is started within inherits these variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection, target: str, arguments: tuple[Any, ...]) -> None:
    """Answers calls until the other end is closed."""
    module, _, name = target.partition(":")
    served: Any = None

    def build() -> None:
        nonlocal served
        served = getattr(importlib.import_module(module), name)(*arguments)

    call = build
    while True:
        try:
            pipe.send((True, call()))
        except Exception:
            pipe.send((False, traceback.format_exc()))
        try:
            method, values = pipe.recv()
        except EOFError:
            return

        def call(method: str = method, values: tuple[Any, ...] = values) -> Any:
            return getattr(served, method)(*values)
