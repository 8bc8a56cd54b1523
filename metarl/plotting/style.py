"""The look of the package's figures: colours, axes without clutter, headings and keys, files written whole.

Every function that draws returns a matplotlib ``Figure`` made without pyplot, hence without global state. Matplotlib's
constrained layout finds the room for titles, labels and keys.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic

INK, MUTED, GRID, PANEL = "#22262b", "#6b727b", "#e6e8eb", "#f5f6f8"
GOAL = "#d55e00"
# Okabe and Ito's palette, which colour-blind readers can tell apart; the rest repeats.
AGENTS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
UNADAPTED = "#8d949e"
ADAPTED = LinearSegmentedColormap.from_list("adapted", ("#74aede", "#2b7bba", "#0b3c6f"))
DASHES = (0, (4, 3))
DPI = 200
TITLE, TEXT = 13, 10.5  # points
FEW = 12  # a curve of at most so many points gets markers, and a tick for each

# Without the date and matplotlib's version the same figure gives the same bytes.
METADATA: Mapping[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def step_colours(n_steps: int) -> list[str]:
    """Return a colour for each adaptation step 0 .. n_steps - 1: grey before any, then ever darker blue."""
    return [UNADAPTED, *(to_hex(ADAPTED(share)) for share in np.linspace(n_steps == 2, 1, n_steps - 1))][:n_steps]


def agent_colours(n_agents: int) -> list[str]:
    """Return a colour for each agent."""
    return [AGENTS[i % len(AGENTS)] for i in range(n_agents)]


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the format follows the suffix (.png, .svg, .pdf)."""
    target, content = Path(path), io.BytesIO()
    kind = target.suffix.removeprefix(".")
    if kind not in METADATA:
        raise MetaRLError(f"{target}: the suffix is none of .{', .'.join(METADATA)}; name a format by it")
    FigureCanvasAgg(figure)  # attaches itself, so that no backend is looked up
    figure.savefig(content, format=kind, dpi=DPI, facecolor="white", metadata=METADATA[kind])
    write_atomic(target, content.getvalue())


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of so many inches, with constrained layout."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def framed_figure(x_label: str, y_label: str, width: float = 7.6, height: float = 4.8) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes, framed."""
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    frame(axes, x_label, y_label)
    return figure, axes


def frame(axes: Axes, x_label: str = "", y_label: str = "") -> None:
    """Take the box away, keep a faint horizontal grid, and name the axes."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=TEXT, length=0, pad=5)
    axes.set_xlabel(x_label, color=MUTED, fontsize=11)
    axes.set_ylabel(y_label, color=MUTED, fontsize=11)


def heading(figure: Figure | SubFigure, title: str, axes: Axes | None = None, subtitle: str = "") -> None:
    """Write a bold line above a figure, broken where it is too long, and a muted one above its axes."""
    figure.suptitle(title, x=0.012, ha="left", color=INK, fontsize=TITLE, fontweight="bold", wrap=True)
    if axes is not None:
        caption(axes, subtitle)


def caption(axes: Axes, text: str) -> None:
    """Write a muted line above axes, flush left."""
    axes.set_title(text, loc="left", color=MUTED, fontsize=TEXT, pad=10)


def key(axes: Axes, ends: Mapping[str, float], more: Sequence[Artist] = ()) -> None:
    """Name the lines of axes to their right, in their colours and in the order in which they end.

    Args:
        axes: with lines that are labelled.
        ends: where each named line ends.
        more: other labelled artists, which come last.
    """
    lines = {str(line.get_label()): line for line in axes.lines}
    named = sorted(ends, key=lambda name: -ends[name])
    axes.legend(
        handles=[*(lines[name] for name in named), *more],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        labelcolor="linecolor",
        fontsize=11,
        handlelength=1.2,
    )


def short(text: str, most: int = 26) -> str:
    """Return a text, or the two ends of one that has more than so many characters."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def x_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Give a short axis a tick for each value, a long one some whole numbers, and a little room at both ends."""
    extent = max(1.0, values[-1] - values[0])
    if len(values) <= FEW and min(np.diff(values), default=1) >= extent / 20:
        axes.set_xticks(values)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(values[0] - 0.03 * extent, values[-1] + 0.03 * extent)
