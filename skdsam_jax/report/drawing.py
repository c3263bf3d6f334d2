"""How all pictures are drawn; they need matplotlib, the extra `plots`."""

import importlib.util
import io
import pathlib
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by all eyes, without the yellow, which white paper swallows;
# after seven they begin again with other lines and marks.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", (0, (3, 1, 1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")

# In inches: as wide as a column of the page, so that letters stay readable on a phone.
WIDTH, HEIGHT = 5.0, 3.6

_DOTS_PER_INCH = 150
_TITLE_LETTERS = 62

# Who wrote the file, as it says itself.
_SOFTWARE = "skdsam_jax report"

# Class names are not formulas, whatever signs they have.
_STYLE = {
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "lines.markersize": 3.5,
    "legend.fontsize": 8,
    "legend.framealpha": 0.7,
}


class Picture(NamedTuple):
    """A drawn picture.

    Attributes:
      name: of its file, without the ending.
      caption: what it shows, in a line.
      png: the file.
    """

    name: str
    caption: str
    png: bytes


def available() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def render(title: Sequence[str], fill: Callable[["Figure"], None], height: float = HEIGHT) -> bytes:
    """Draws a picture.

    Args:
      title: its lines: what was trained, and on which data.
      fill: draws on an empty figure.
      height: in inches; `WIDTH` is the width of all.

    Returns:
      A PNG file.
    """
    import matplotlib

    # Without pyplot, which looks for a display and keeps every figure.
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure((WIDTH, height), _DOTS_PER_INCH, layout="constrained")
        lines = [part for line in title for part in textwrap.wrap(line, _TITLE_LETTERS)]
        figure.suptitle("\n".join(lines), fontsize=9)
        fill(figure)
        file = io.BytesIO()
        # The same numbers are the same file, whatever version of matplotlib drew it.
        figure.savefig(file, format="png", metadata={"Software": _SOFTWARE})
    return file.getvalue()


# Of a line that is alone.
PLAIN = {"color": "black", "linestyle": "-", "marker": "o"}


def look(number: int) -> Mapping[str, Any]:
    """Colour, line and mark of the line `number`, from 0; they differ in all three."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        # Seven colours and four lines have no common divisor: 28 pairs.
        "linestyle": _LINES[number % len(_LINES)],
        "marker": _MARKS[(number + number // len(COLOURS)) % len(_MARKS)],
    }


def shortened(name: str, letters: int) -> str:
    """The name, its end left out where it is longer."""
    return name if len(name) <= letters else name[: letters - 1] + "…"


def wrapped(name: str, letters: int, lines: int) -> str:
    """The name in lines of so many letters, its end left out where there are more lines."""
    return textwrap.fill(name, letters, max_lines=lines, placeholder=" …", break_on_hyphens=False)


def note(axes: "Axes", text: str) -> None:
    """Writes where there is nothing to draw."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def write_picture(folder: pathlib.Path, picture: Picture) -> pathlib.Path:
    """Writes a picture's file; returns where it is."""
    path = folder / f"{picture.name}.png"
    path.write_bytes(picture.png)
    return path


def is_own(path: pathlib.Path) -> bool:
    """Whether a PNG file was drawn here."""
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == _SOFTWARE
    except OSError:  # No picture, whatever its name.
        return False
