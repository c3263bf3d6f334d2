"""Classifies pictures with the network of a run.

    skdsam predict runs/birds photographs/ --format csv > answers.csv

Results alone go to stdout. Folders are searched with what is below them, for files whose ending
Pillow knows. Exit code 4 says that files were skipped because they could not be read; stderr names
them.
"""

import argparse
import collections
import contextlib
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from skdsam_jax.commands import command_line
from skdsam_jax.commands.evaluation_output import FILE
from skdsam_jax.commands.prediction_formats import FORMATS, Layout, Prediction
from skdsam_jax.evaluation.any_exit import Answer, AnyExit
from skdsam_jax.evaluation.decoding import read_ahead
from skdsam_jax.options import ConfigError
from skdsam_jax.trained import Trained, load

EXIT_UNREADABLE = 4


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="skdsam predict",
        description=__doc__.partition("\n")[0],
        epilog="exit code 4: some files could not be read; they are named on stderr and skipped",
    )
    parser.add_argument("workdir", type=pathlib.Path, help="the run's folder")
    parser.add_argument("paths", nargs="+", type=pathlib.Path, metavar="FILE_OR_FOLDER")
    command_line.add_which(parser)
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--top", type=int, default=5, help="classes for each picture; default 5")
    early = parser.add_mutually_exclusive_group()
    early.add_argument("--exit", type=int, help="answer at this exit, from 1; default: the deepest")
    early.add_argument(
        "--confidence",
        type=float,
        help="answer at the first exit whose probability is at least this, from 0 to 1",
    )
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="with the temperatures that `evaluate` fitted, of WORKDIR/evaluation/evaluation.json",
    )
    parser.add_argument("--batch_size", type=int, default=128, help="default 128")
    parser.add_argument("--out", type=pathlib.Path, help="a file in place of stdout")
    options = parser.parse_args(arguments)
    skipped: list[pathlib.Path] = []
    code = command_line.run(lambda: _predict(options, skipped))
    return code or (EXIT_UNREADABLE if skipped else 0)


def _predict(options: argparse.Namespace, skipped: list[pathlib.Path]) -> None:
    _check(options)
    files = find_files(options.paths)
    trained = load(options.workdir, options.which)
    temperatures = _read_temperatures(options.workdir, trained) if options.calibrated else None
    network = AnyExit(trained, options.batch_size, temperatures=temperatures)
    if options.exit is not None and not 1 <= options.exit <= len(network):
        raise ConfigError(f"--exit: takes 1 to {len(network)} with this run, not {options.exit}")
    read = _Reader(trained, files, 2 * options.batch_size, skipped)
    if options.confidence is not None:
        answers = network.leave_early(read, options.confidence)
    else:
        answers = network.answer_at(read, (options.exit or 0) - 1)
    timed = _Timed(answers, options.batch_size)
    predictions = (
        _describe(read.paths.popleft(), answer, trained.class_names, options.top)
        for answer in timed
    )
    layout = Layout(
        file_width=max(len(str(path)) for path in files),
        class_width=max(map(len, trained.class_names)),
        top=min(options.top, len(trained.class_names)),
        exits=options.confidence is not None,
    )
    _write(FORMATS[options.format](predictions, layout), options.out)
    print(timed.describe() + (f"; {len(skipped)} unreadable" if skipped else ""), file=sys.stderr)


def find_files(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Files as they were given, and of folders the pictures below them in order of their names.

    Raises:
      ConfigError: one does not exist, or there are no files at all.
    """
    endings = Image.registered_extensions()
    files = []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: no such file or folder")
        if path.is_dir():
            files += sorted(
                found
                for found in path.rglob("*")
                if found.suffix.lower() in endings
                and found.is_file()
                and not any(part.startswith(".") for part in found.relative_to(path).parts)
            )
        else:
            files.append(path)
    if not files:
        raise ConfigError(f"{', '.join(map(str, paths))}: no pictures there")
    return files


class _Reader:
    """Pictures decoded ahead of the device; what cannot be read is named and left out.

    Attributes:
      paths: of the images that were handed out and are not answered yet.
    """

    def __init__(
        self,
        trained: Trained,
        files: Sequence[pathlib.Path],
        ahead: int,
        skipped: list[pathlib.Path],
    ) -> None:
        self.paths: collections.deque[pathlib.Path] = collections.deque()
        self._trained, self._files, self._ahead, self._skipped = trained, files, ahead, skipped

    def __iter__(self) -> Iterator[np.ndarray]:
        results = read_ahead(self._read, self._files, ahead=self._ahead)
        for path, result in zip(self._files, results, strict=True):
            if isinstance(result, ConfigError):
                self._skipped.append(path)
                print(f"skipped {result}", file=sys.stderr)
            else:
                self.paths.append(path)
                yield result

    def _read(self, path: pathlib.Path) -> np.ndarray | ConfigError:
        try:
            return self._trained.prepare(path)
        except ConfigError as error:
            return error


class _Timed:
    """Answers, and how fast they came after the first batch, for which programs are compiled."""

    def __init__(self, answers: Iterable[Answer], batch_size: int) -> None:
        self._answers, self._batch_size = answers, batch_size
        self._count, self._begin, self._end = 0, 0.0, 0.0

    def __iter__(self) -> Iterator[Answer]:
        for answer in self._answers:
            self._count += 1
            self._end = time.perf_counter()
            if self._count == self._batch_size:
                self._begin = self._end
            yield answer

    def describe(self) -> str:
        """How many images there were and, of two batches or more, how many a second."""
        if self._count < 2 * self._batch_size:
            return f"{self._count:,} images"
        rate = (self._count - self._batch_size) / (self._end - self._begin)
        return f"{self._count:,} images, {rate:,.0f} images/s after the first batch"


def _describe(
    path: pathlib.Path, answer: Answer, class_names: Sequence[str], top: int
) -> Prediction:
    order = np.argsort(-answer.probabilities, kind="stable")[:top]
    ranked = [(class_names[index], float(answer.probabilities[index])) for index in order]
    return Prediction(str(path), answer.exit + 1, ranked)


def _read_temperatures(workdir: pathlib.Path, trained: Trained) -> list[float]:
    """Those of an evaluation of the same network.

    Raises:
      ConfigError: there is none, it is of another checkpoint, or it had nothing to fit them on.
    """
    file = workdir / "evaluation" / FILE
    try:
        evaluation = json.loads(file.read_text())
        digest = evaluation["params_digest"]
        temperatures = [exit_["temperature"] for exit_ in evaluation["exits"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"--calibrated: {file} cannot be read; run: skdsam evaluate {workdir}"
        ) from None
    if digest != trained.params_digest:
        raise ConfigError(f"--calibrated: {file} is of another checkpoint")
    if None in temperatures:
        raise ConfigError(f"--calibrated: {file} has none, for the run has no validation split")
    return temperatures


def _write(lines: Iterable[str], out: pathlib.Path | None) -> None:
    if out is None:
        try:
            for line in lines:
                print(line)
            sys.stdout.flush()
        except BrokenPipeError:
            # Who reads has seen enough; Python would complain again when it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(out.open("w", newline=""))
        except OSError as error:
            raise ConfigError(f"--out: {out} cannot be written: {error.strerror}") from None
        for line in lines:
            file.write(line + "\n")


def _check(options: argparse.Namespace) -> None:
    for name in ("batch_size", "top"):
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name}: takes at least 1, not {getattr(options, name)}")
    confidence = options.confidence
    if confidence is not None and not (0 <= confidence <= 1 and math.isfinite(confidence)):
        raise ConfigError(f"--confidence: takes 0 to 1, not {confidence}")
