"""The page as Markdown: tables, and pictures in files of their own."""

import textwrap
from collections.abc import Iterator, Sequence

from skdsam_jax.report.drawing import Picture
from skdsam_jax.report.page import Section
from skdsam_jax.report.tables import to_markdown


def make_markdown(
    introduction: Sequence[str], sections: Sequence[Section], command: str, place: str | None = None
) -> str:
    """The page, as one Markdown file.

    Args:
      introduction: its paragraphs.
      sections: in order.
      command: that makes the page.
      place: the folder of the pictures as seen from the page, with slashes. They are folded away
        below each table, by their kind; None: the page has the tables alone.
    """
    paragraphs = [f"# Measured runs\n\nMade by `{command}`.\n"]
    paragraphs += [textwrap.fill(text, 100, break_on_hyphens=False) + "\n" for text in introduction]
    parts = [part for section in sections for part in _section(section, place)]
    return "\n".join([*paragraphs, *parts])


def _section(section: Section, place: str | None) -> Iterator[str]:
    yield to_markdown(section.table)
    if place is None:
        return
    for heading, pictures in section.pictures.items():
        shown = "\n".join(_image(picture, place) for picture in pictures)
        yield f"<details><summary>{heading}</summary>\n\n{shown}\n\n</details>\n"


def _image(picture: Picture, place: str) -> str:
    caption = picture.caption.translate(str.maketrans("[]", "()"))
    return f"![{caption}](<{place}/{picture.name}.png>)"
