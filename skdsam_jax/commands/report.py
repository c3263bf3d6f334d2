"""Tables and pictures of measured runs: `skdsam report results --html page`.

docs/report.md says what they show.
"""

import argparse
import pathlib
import shlex
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from skdsam_jax.commands import command_line
from skdsam_jax.installation import install_command
from skdsam_jax.options import ConfigError
from skdsam_jax.report import csv_files, drawing, tables
from skdsam_jax.report.claims import claims_table, explain_claims, find_answers
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
    if options.out or not options.html:
        page = _markdown(introduction, made, command)
        if options.out:
            _write(options.out, page)
        else:
            print(page)
    if options.html:
        _write_html(options, [f"Made by: {command}", *introduction], made, found)


def _markdown(introduction: Sequence[str], made: Sequence[tables.Table], command: str) -> str:
    paragraphs = [f"# Measured runs\n\nMade by `{command}`.\n"]
    paragraphs += [textwrap.fill(text, 100, break_on_hyphens=False) + "\n" for text in introduction]
    return "\n".join([*paragraphs, *map(tables.to_markdown, made)])


def _write_html(
    options: argparse.Namespace,
    introduction: Sequence[str],
    made: Sequence[tables.Table],
    found: _Found,
) -> None:
    pictures = drawing.available()
    sections = []
    for number, table in enumerate(made, 1):
        own = [each for each in found.experiments if each.words.table == table.title]
        apart = found.evaluations if table.title == tables.EVALUATIONS else ()
        sections.append(draw_section(table, number, own, apart, pictures=pictures))
    files = csv_files.make_files(*found, options.baseline)
    for name, text in files.items():
        _write(options.html / name, text)
    drawn = _pictures(sections)
    for picture in drawn:
        drawing.write_picture(options.html, picture)
    page = options.html / "index.html"
    _write(page, make_page(introduction, sections))
    print(f"{page}: {len(drawn)} pictures, also as PNG; {', '.join(files)}")
    if not pictures:
        print(f"no pictures without matplotlib; for them: {install_command('plots')}")


def _pictures(sections: Sequence[Section]) -> list[drawing.Picture]:
    return [
        picture
        for section in sections
        for pictures in (*section.pictures.values(), section.sheets)
        for picture in pictures
    ]


def _write(path: pathlib.Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
