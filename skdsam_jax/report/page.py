"""One page of HTML that holds everything: it loads nothing, neither files nor from a network."""

import base64
import html
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from skdsam_jax.report.drawing import Picture
from skdsam_jax.report.evaluation_pictures import name_of
from skdsam_jax.report.tables import Table

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #59636e; --paper: #ffffff;
  --line: #d1d9e0; --shade: #f3f5f7; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --quiet: #9aa4af;
  --paper: #14181d; --line: #353d46; --shade: #1e242b; --link: #79b8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 90rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 3rem; padding-top: 1rem; border-top: 2px solid var(--line); }
p { max-width: 48rem; overflow-wrap: anywhere; }
a { color: var(--link); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; width: max-content; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; max-width: 18rem; }
th:first-child, td:first-child { position: sticky; left: 0; max-width: 11rem;
  overflow-wrap: anywhere; background: var(--paper); }
th, th:first-child { background: var(--shade); }
.figures { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; background: #fff;
  border: 1px solid var(--line); border-radius: .4rem; }
figcaption { margin-top: .3rem; color: var(--quiet); font-size: .8rem; overflow-wrap: anywhere; }
.mistakes { display: grid; gap: .75rem; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); }
.mistakes li { padding: .5rem; background: var(--shade); border-radius: .4rem;
  font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }
.mistakes img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  image-rendering: pixelated; margin-bottom: .4rem; }
.quiet { color: var(--quiet); }
"""


class Mistakes(NamedTuple):
    """The worst mistakes of a run, drawn by the page itself so that names can be copied.

    Attributes:
      caption: of which run, on which data.
      mistakes: of `evaluation.json`.
      folder: where that is.
    """

    caption: str
    mistakes: Sequence[Mapping[str, Any]]
    folder: pathlib.Path


class Section(NamedTuple):
    """A table and what belongs to it.

    Attributes:
      table: with its title.
      pictures: heading to the pictures below it.
      mistakes: of the runs that were measured.
      sheets: the same as pictures, which are files alone.
    """

    table: Table
    pictures: Mapping[str, Sequence[Picture]]
    mistakes: Sequence[Mistakes] = ()
    sheets: Sequence[Picture] = ()

    @property
    def shown(self) -> list[Picture]:
        """The pictures of every heading."""
        return [picture for pictures in self.pictures.values() for picture in pictures]


def make_page(introduction: Sequence[str], sections: Sequence[Section]) -> str:
    """The page, as one HTML file.

    Args:
      introduction: its paragraphs.
      sections: in order.
    """
    titles = "".join(
        f'<li><a href="#part-{number}">{html.escape(section.table.title)}</a></li>'
        for number, section in enumerate(sections)
    )
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>Measured runs</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        "<h1>Measured runs</h1>",
        *(f"<p>{html.escape(text)}</p>" for text in introduction),
        f"<ul>{titles}</ul>",
    ]
    for number, section in enumerate(sections):
        parts += _section(section, number)
    return "\n".join([*parts, "</body>\n</html>\n"])


def _section(section: Section, number: int) -> Iterator[str]:
    yield f'<h2 id="part-{number}">{html.escape(section.table.title)}</h2>'
    yield _table(section.table)
    for heading, pictures in section.pictures.items():
        yield f'<h3>{html.escape(heading)}</h3>\n<div class="figures">'
        yield from map(_figure, pictures)
        yield "</div>"
    if section.mistakes:
        yield "<h3>Worst mistakes</h3>"
        for mistakes in section.mistakes:
            yield _mistakes(mistakes)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _figure(picture: Picture) -> str:
    caption = html.escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="{_data(picture.png)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _mistakes(shown: Mistakes) -> str:
    items = []
    for mistake in shown.mistakes:
        true, predicted = (html.escape(mistake[name]) for name in ("true_class", "predicted_class"))
        thumbnail = shown.folder / mistake["thumbnail"]
        image = (
            f'<img alt="{true}" src="{_data(thumbnail.read_bytes())}">'
            if thumbnail.is_file()
            else ""
        )
        items.append(
            f"<li>{image}{true}<br>→ <b>{predicted}</b><br>{100 * mistake['confidence']:.1f} %<br>"
            f'<span class="quiet">{html.escape(name_of(mistake))}</span></li>'
        )
    return (
        f"<p>{html.escape(shown.caption)}: the true class → what the network said, how sure it "
        f'was, and which picture it is.</p>\n<ul class="mistakes">{"".join(items)}</ul>'
    )


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
