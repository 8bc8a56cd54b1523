"""The charts that agents and few-shot learners share: lines with their intervals, and a ranking."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarl.core.errors import MetaRLError
from metarl.evaluation.statistics import Array, Estimate
from metarl.plotting.style import (
    AGENTS,
    DASHES,
    FEW,
    INK,
    MUTED,
    TEXT,
    agent_colours,
    frame,
    framed_figure,
    heading,
    key,
    new_figure,
    x_ticks,
)

_LETTERS, _LETTER = 36, 0.09  # longer names than so many letters widen a ranking, by so many inches each
_FAR = 4  # a floor that would make the axis so many times as long is named at its end instead


class Line(NamedTuple):
    """A mean with its interval, by steps or episodes."""

    x: Sequence[float]  # (point,) increasing
    scores: Sequence[Estimate]  # (point,)
    dashed: bool = False


class Ranked(NamedTuple):
    """A row of a ranking."""

    name: str
    value: float
    low: float
    high: float
    note: str = ""


def bands(scores: Sequence[Estimate]) -> tuple[Array, Array, Array]:
    """Return (mean, low, high), each (point,): the values and their wider intervals."""
    mean, low, high = np.array([(score.value, *score.interval) for score in scores]).T
    return mean, low, high


def reach(low: Array, high: Array) -> list[float]:
    """Return how far an axis follows a band; of a long curve of single noisy episodes it does not to each spike."""
    share = 0 if len(low) <= FEW else 0.1
    return [float(np.quantile(low, share)), float(np.quantile(high, 1 - share))]


def draw_band(axes: Axes, x: Sequence[float], low: Array, high: Array, colour: Any, alpha: float) -> None:
    """Draw the intervals of a line's points, of a single one as a bar: a band of one point has no width."""
    if len(x) > 1:
        axes.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0, zorder=2)
    else:
        axes.vlines(x, low, high, color=colour, alpha=0.45, linewidth=2.4, zorder=2)


def lines_figure(
    lines: Mapping[str, Line], *, title: str, subtitle: str, x_label: str, y_label: str
) -> tuple[Figure, Axes]:
    """Draw a line with its band for each agent or learner, named in a key on the right; returns the axes too."""
    figure, axes = framed_figure(x_label, y_label)
    ends, shown = {}, []
    for (name, line), colour in zip(lines.items(), agent_colours(len(lines)), strict=True):
        mean, low, high = bands(line.scores)
        draw_band(axes, line.x, low, high, colour, 0.18)
        style = (0, (2.5, 1.5)) if line.dashed else "-"
        marker = "o" if len(mean) <= FEW else ""
        axes.plot(line.x, mean, color=colour, linewidth=2, label=name, marker=marker, linestyle=style)
        ends[name] = float(mean[-1])
        shown += [*reach(low, high), mean.min(), mean.max()]
    margin = 0.05 * (max(shown) - min(shown)) or 1.0
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    x_ticks(axes, sorted({x for line in lines.values() for x in line.x}))
    key(axes, ends)
    heading(figure, title, axes, subtitle)
    return figure, axes


def ranking_figure(
    rows: Sequence[Ranked],
    *,
    title: str,
    subtitle: str,
    x_label: str,
    floor: tuple[float, str] | None = None,
    form: str = ".1f",
    lower_is_better: bool = False,
) -> Figure:
    """Draw learners in rows, the best at the top: a dot, its interval as a bar, the value and a note on the right.

    Args:
        rows: at least one.
        title: of the figure.
        subtitle: below it.
        x_label: of the values.
        floor: a value to compare with, such as chance, and its name; a dashed line, or where that is far off and
            would squeeze the intervals to dots, an arrow to it.
        form: Python's format of a value: ``.1f`` for accuracies in percent, ``.3f`` for errors.
        lower_is_better: whether the values are errors.
    """
    if not rows:
        raise MetaRLError("There are 0 rows; give at least one learner.")
    ordered = sorted(rows, key=lambda row: row.value, reverse=not lower_is_better)
    places = np.arange(len(rows))
    values, lows, highs = np.array([row[1:4] for row in ordered], dtype=np.float64).T
    longest = max(len(row.name) for row in rows)
    figure = new_figure(7.2 + _LETTER * max(0, longest - _LETTERS), 1.6 + 0.38 * len(rows))
    axes = figure.add_subplot()
    frame(axes, x_label)
    axes.hlines(places, lows, highs, color=AGENTS[0], linewidth=2.4, alpha=0.45)
    axes.scatter(values, places, s=46, color=AGENTS[0], edgecolors="white", linewidths=0.8, zorder=3)
    axes.set_ylim(len(rows) - 0.4, -0.6 if floor is None else -1.1)  # the floor's name stands above the first row
    axes.set_yticks(places, [row.name for row in ordered], color=INK, fontsize=11)
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(places, [f"{row.value:{form}}   {row.note}".rstrip() for row in ordered])
    beside.tick_params(colors=INK, labelsize=11, length=0)
    beside.spines[:].set_visible(False)
    shown = np.array([*values, *lows, *highs])
    if floor is not None and np.ptp([*shown, floor[0]]) <= _FAR * np.ptp(shown):
        shown = np.append(shown, floor[0])
    margin = 0.05 * (np.ptp(shown) or abs(shown[0]) or 1.0)
    axes.set_xlim(float(shown.min() - margin), float(shown.max() + margin))
    if floor is not None:
        _floor(axes, floor[0], f"{floor[1]} {floor[0]:{form}}")
    heading(figure, title, axes, subtitle)
    return figure


def _floor(axes: Axes, value: float, text: str) -> None:
    """Draw a dashed line through all rows, named above the first on the side that has room, or an arrow to it."""
    low, high = axes.get_xlim()
    x, offset, side = value, 5, "left"
    if value < low:
        x, offset, text = low, 0, f"← {text}"
    elif value > high:
        x, offset, side, text = high, 0, "right", f"{text} →"
    else:
        axes.axvline(value, color=INK, linewidth=1, linestyle=DASHES, zorder=1)
        if value - low > high - value:
            offset, side = -5, "right"
    place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    axes.annotate(text, (x, 1), (offset, -2), color=MUTED, fontsize=TEXT, ha=side, va="top", **place)
