"""A figure of one task of regression."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from metarl.plotting.style import DASHES, INK, framed_figure, heading, key, step_colours


def function_figure(
    support: tuple[ArrayLike, ArrayLike],
    query: tuple[ArrayLike, ArrayLike],
    predictions: Mapping[str, ArrayLike],
    *,
    title: str,
    subtitle: str,
    deviations: Mapping[str, ArrayLike] | None = None,
) -> Figure:
    """Draw a task with one number in and one out: the true function, the support, and what is predicted by steps.

    Args:
        support: its x and its y, ``(n,)`` or ``(n, 1)`` each.
        query: the x and y of points of the true function in any order, ``(m,)`` or ``(m, 1)`` each.
        predictions: name -> ``(m,)`` or ``(m, 1)`` at the query, from before adaptation to after the last step. What
            lies far from the task leaves the picture.
        title: of the figure.
        subtitle: below it.
        deviations: name -> standard deviations ``(m,)`` of those that state them; a band of ± 2 of them is drawn.
    """
    given, asked = ([np.ravel(values) for values in pair] for pair in (support, query))
    predicted = {name: np.ravel(values) for name, values in predictions.items()}
    spread = {name: np.ravel(values) for name, values in (deviations or {}).items()}
    order = np.argsort(asked[0], kind="stable")
    x, y = asked[0][order], asked[1][order]
    figure, axes = framed_figure("x", "y")
    axes.plot(x, y, color=INK, linewidth=1.4, linestyle=DASHES, label="true", zorder=3)
    ends = {"true": float(y[-1])}
    colours = step_colours(len(predicted)) if len(predicted) > 1 else step_colours(2)[1:]
    for (name, values), colour in zip(predicted.items(), colours, strict=True):
        axes.plot(x, values[order], color=colour, linewidth=2, label=name, zorder=2)
        ends[name] = float(values[order][-1])
        if name in spread:
            low, high = (values[order] + side * spread[name][order] for side in (-2, 2))
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    (dots,) = axes.plot(*given, "o", color=INK, markersize=7.5, markeredgecolor="white", label="support", zorder=4)
    task = np.concatenate([y, given[1]])
    reached = [side * spread.get(name, 0.0) + values for name, values in predicted.items() for side in (-2, 2)]
    drawn = np.concatenate([task, *reached])
    room = np.ptp(task) or 1.0
    least, most = max(drawn.min(), task.min() - room), min(drawn.max(), task.max() + room)
    axes.set_ylim(float(least - 0.06 * room), float(most + 0.06 * room))
    axes.margins(x=0.02)
    key(axes, ends, [dots])
    heading(figure, title, axes, subtitle)
    return figure
