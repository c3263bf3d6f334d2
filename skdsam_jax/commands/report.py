"""Tables and pictures of measured runs: `skdsam report results --html page`.

docs/report.md says what they show.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from skdsam_jax.commands import command_line
from skdsam_jax.installation import install_command
from skdsam_jax.options import ConfigError
from skdsam_jax.report import csv_files, drawing, tables
from skdsam_jax.report.claims import claims_table, explain_claims, find_answers
from skdsam_jax.report.markdown_page import make_markdown
from skdsam_jax.report.page import Section, make_page
from skdsam_jax.report.runs import (
    Evaluation,
    Experiment,
    Unfinished,
    find_evaluations,
    find_runs,
    find_unfinished,
    group,
)
from skdsam_jax.report.sections import draw_section

_PROGRAM = "python -m skdsam_jax report"


class _Found(NamedTuple):
    """What is below a folder."""

    experiments: Sequence[Experiment]
    unfinished: Sequence[Unfinished]
    evaluations: Sequence[Evaluation]


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="where the runs are")
    parser.add_argument(
        "--out", type=pathlib.Path, help="the Markdown page; printed if neither it nor --html is"
    )
    parser.add_argument(
        "--pictures",
        type=pathlib.Path,
        metavar="DIR",
        help="where the pictures that the Markdown page shows are written, as PNG",
    )
    parser.add_argument(
        "--html",
        type=pathlib.Path,
        metavar="DIR",
        help="where index.html, its pictures as PNG and the tables as CSV are written",
    )
    parser.add_argument(
        "--baseline",
        default="cross_entropy",
        metavar="METHOD",
        help="what others are compared with, seed by seed; default cross_entropy",
    )
    options = parser.parse_args(arguments)
    if options.pictures and not options.out:
        parser.error("--pictures: needs --out, the page that shows them")
    return command_line.run(lambda: _report(options, shlex.join([*_PROGRAM.split(), *arguments])))


def _report(options: argparse.Namespace, command: str) -> None:
    runs = find_runs(options.folder)
    found = _Found(
        group(runs), find_unfinished(options.folder), find_evaluations(options.folder, runs)
    )
    if not any(found):
        raise ConfigError(f"{options.folder}: holds no summary.json of a finished run")
    made = tables.make_tables(found.experiments, options.baseline)
    introduction = [tables.INTRODUCTION, tables.explain_differences(made, options.baseline)]
    answers = find_answers(found.experiments)
    if answers:
        made.append(claims_table(answers))
        introduction.append(explain_claims())
    introduction = [text for text in introduction if text]
    if found.evaluations:
        made.append(tables.evaluations_table(found.evaluations, options.folder))
    if found.unfinished:
        made.append(tables.unfinished_table(found.unfinished, options.folder))
    commands = tables.commands_table(found.experiments)
    if commands.rows:
        made.append(commands)
    drawn = bool(options.html or options.pictures) and drawing.available()
    sections = _sections(made, found, options.folder, pictures=drawn)
    if options.out or not options.html:
        _write_markdown(options, introduction, sections, command)
    if options.html:
        _write_html(options, [f"Made by: {command}", *introduction], sections, found)
    if (options.html or options.pictures) and not drawing.available():
        print(f"no pictures without matplotlib; for them: {install_command('plots')}")


def _sections(
    made: Sequence[tables.Table], found: _Found, folder: pathlib.Path, *, pictures: bool
) -> list[Section]:
    """The tables, with their pictures where these are asked for and can be drawn."""
    sections = []
    for table in made:
        own = [each for each in found.experiments if each.words.table == table.title]
        apart = found.evaluations if table.title == tables.EVALUATIONS else ()
        sections.append(draw_section(table, own, apart, folder=folder, pictures=pictures))
    return sections


def _write_markdown(
    options: argparse.Namespace,
    introduction: Sequence[str],
    sections: Sequence[Section],
    command: str,
) -> None:
    """Writes the page, or prints it."""
    if options.out is None:
        print(make_markdown(introduction, sections, command))
        return
    if options.pictures is None:
        _write(options.out, make_markdown(introduction, sections, command))
        return
    place = pathlib.PurePath(os.path.relpath(options.pictures, options.out.parent)).as_posix()
    before = _pictures_shown(options.out, place)
    shown = [picture for section in sections for picture in section.shown]
    _write_pictures(options.pictures, shown)
    _write(options.out, make_markdown(introduction, sections, command, place))
    # Without matplotlib there is nothing to take their place.
    for name in before - {picture.name for picture in shown} if shown else ():
        _remove_picture(options.pictures / f"{name}.png")


def _pictures_shown(page: pathlib.Path, place: str) -> set[str]:
    """The names of the pictures at `place` that the page, if there is one, shows until now."""
    try:
        return set(
            re.findall(rf"\]\(<{re.escape(place)}/([^/>]+)\.png>\)$", page.read_text(), re.M)
        )
    except (OSError, ValueError):
        return set()


def _remove_picture(path: pathlib.Path) -> None:
    """Removes a picture of an earlier page, unless it is somebody else's."""
    if drawing.is_own(path):
        with contextlib.suppress(OSError):
            path.unlink()


def _write_html(
    options: argparse.Namespace,
    introduction: Sequence[str],
    sections: Sequence[Section],
    found: _Found,
) -> None:
    files = csv_files.make_files(*found, options.baseline)
    for name, text in files.items():
        _write(options.html / name, text)
    drawn = [picture for each in sections for picture in (*each.shown, *each.sheets)]
    _write_pictures(options.html, drawn)
    page = options.html / "index.html"
    _write(page, make_page(introduction, sections))
    print(f"{page}: {len(drawn)} pictures, also as PNG; {', '.join(files)}")


def _write_pictures(folder: pathlib.Path, pictures: Sequence[drawing.Picture]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            drawing.write_picture(folder, picture)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from None


def _write(path: pathlib.Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
