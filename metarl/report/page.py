"""A page of HTML in one file: parts with facts, commands, tables, figures and films, in light and dark."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, select_autoescape
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from metarl.evaluation.rows import Row, number
from metarl.plotting.style import GRID, INK, METADATA, MUTED, PANEL
from metarl.version import __version__

# Colours of figures that follow the page's, so that they can be read on a dark ground too.
_FOLLOWING = {INK: "ink", "#000000": "ink", MUTED: "muted", GRID: "grid", PANEL: "panel", "#ffffff": "ground"}
_SMALL = 0.1  # numbers below have two digits, however many zeros stand before them
_PIXELS = 115  # of an inch of a figure, at most
_TYPES = {".gif": "image/gif", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class ShownFigure:
    """A figure with the words below it."""

    figure: Figure
    words: str = ""


@dataclass(frozen=True)
class ShownFilm:
    """An encoded film with the words below it."""

    content: bytes
    suffix: str  # .gif or .mp4
    words: str = ""

    @property
    def address(self) -> str:
        """The film itself, as an address."""
        return f"data:{_TYPES[self.suffix]};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True)
class Listing:
    """Rows of the same columns, which a click on a heading sorts."""

    title: str
    rows: Sequence[Row]
    words: str = ""


@dataclass(frozen=True)
class Part:
    """A part of the page: a run, or a comparison of several."""

    title: str
    summary: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[str] = ()  # that make it anew
    pictures: Sequence[ShownFigure] = ()
    films: Sequence[ShownFilm] = ()
    listings: Sequence[Listing] = ()


def page(title: str, parts: Sequence[Part]) -> str:
    """Return the page."""
    environment = Environment(autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True)
    environment.filters["cell"] = _cell
    template = environment.from_string(resources.files("metarl.report").joinpath("page.html").read_text())
    drawn = iter(range(sum(len(part.pictures) for part in parts)))
    return template.render(
        title=title, parts=parts, version=__version__, drawing=lambda figure: svg(figure, next(drawn))
    )


def svg(figure: Figure, place: int = 0) -> Markup:
    """Return a figure as an element of a page, whose colours of text, lines and ground are the page's variables.

    Args:
        figure: of matplotlib.
        place: its number on the page, which keeps its names apart from those of others.
    """
    content = io.StringIO()
    # One salt for all makes the same figure the same text.
    with rc_context({"svg.hashsalt": "metarl", "svg.fonttype": "none"}):
        FigureCanvasSVG(figure)  # attaches itself, so that no backend is looked up
        figure.savefig(content, format="svg", facecolor="none", metadata=METADATA["svg"])
    text = content.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>f{place}-", text)
    # As wide as the page, but no wider than is good to read.
    text = re.sub(r'^(<svg [^>]*?)(?:width|height)="[^"]*" ([^>]*?)(?:width|height)="[^"]*" ', r"\1\2", text)
    text = text.replace("<svg ", f'<svg style="max-width: {_PIXELS * figure.get_figwidth():.0f}px" ', 1)
    for colour, name in _FOLLOWING.items():
        text = text.replace(colour, f"var(--{name})")
    return Markup(text)


def _cell(value: Any) -> str:
    """Print a cell of a table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    return number(value) if not 0 < abs(value) < _SMALL else f"{value:.2g}".replace("-", "−")
