"""The look of the package's pictures: colours, axes without clutter, labels where lines end, files written whole."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic

INK, MUTED, GRID, PANEL = "#22262b", "#6b727b", "#e6e8eb", "#f5f6f8"
GOAL = "#d55e00"
# Okabe and Ito's palette, which colour-blind readers can tell apart; the rest repeats.
AGENTS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
UNADAPTED = "#8d949e"
ADAPTED = LinearSegmentedColormap.from_list("adapted", ("#74aede", "#2b7bba", "#0b3c6f"))
DPI = 200
_TITLE, _MARGIN = 13, 62  # points: the size of titles, and what is left of the axes and free on the right
LABEL_GAP = 0.052  # of the axes' height, between the labels of two line ends

# Without the date and matplotlib's version the same figure gives the same bytes.
METADATA: Mapping[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


class End(NamedTuple):
    """Where a line ends, in data coordinates, and what is written there."""

    y: float
    text: str
    colour: Any


def step_colours(n_steps: int) -> list[str]:
    """A colour for each adaptation step 0 .. n_steps - 1: grey before any, then ever darker blue."""
    return [UNADAPTED, *(to_hex(ADAPTED(share)) for share in np.linspace(n_steps == 2, 1, n_steps - 1))][:n_steps]


def agent_colours(n_agents: int) -> list[str]:
    """A colour for each agent."""
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


def frame(axes: Axes, x_label: str = "", y_label: str = "") -> None:
    """Take the box away, keep a faint horizontal grid, and name the axes."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=10.5, length=0, pad=5)
    axes.set_xlabel(x_label, color=MUTED, fontsize=11)
    axes.set_ylabel(y_label, color=MUTED, fontsize=11)


def heading(axes: Axes, title: str, subtitle: str) -> None:
    """A bold line and a muted one above the axes, flush left; a long title is set smaller rather than cut off."""
    place: dict[str, Any] = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
    bold = FontProperties(weight="bold", size=_TITLE)
    width = TextPath((0, 0), title, prop=bold).get_extents().width if title else 0.0
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = 72 * figure.get_figwidth() - _MARGIN
    bold.set_size(_TITLE * min(1.0, room / max(width, 1.0)))
    axes.annotate(title, xytext=(0, 34), color=INK, fontproperties=bold, **place)
    caption(axes, subtitle, 15)


def caption(axes: Axes, text: str, above: float = 6) -> None:
    """A muted line above the axes, so many points, flush left."""
    place: dict[str, Any] = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(text, xytext=(0, above), color=MUTED, fontsize=10.5, **place)


def label_ends(axes: Axes, ends: Sequence[End], gap: float = LABEL_GAP) -> None:
    """Write each line's name to the right of where it ends, in its colour; labels too close are pushed apart."""
    low, high = axes.get_ylim()
    heights = spread([(end.y - low) / (high - low) for end in ends], gap)
    for end, height in zip(ends, heights, strict=True):
        axes.annotate(
            end.text,
            (1, height),
            (7, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=end.colour,
            fontsize=11,
            va="center",
            annotation_clip=False,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights moved as little as needed to lie at least ``gap`` apart, in the same order.

    Groups that come too close share their mean: isotonic regression of the heights less their rank x gap.
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    groups: list[tuple[float, int]] = []  # (mean, size), their means increasing
    for rank, i in enumerate(order):
        mean, size = heights[i] - rank * gap, 1
        while groups and groups[-1][0] >= mean:
            before, count = groups.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        groups.append((mean, size))
    moved = np.repeat([mean for mean, _ in groups], [size for _, size in groups]) + gap * np.arange(len(order))
    result = [0.0] * len(heights)
    for rank, i in enumerate(order):
        result[i] = float(moved[rank])
    return result
