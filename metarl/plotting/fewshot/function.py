"""A figure of one task of regression."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from metarl.core.errors import MetaRLError
from metarl.plotting.fewshot.checks import Array, numbers
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
    given = [_flat(f"support_{name}", values) for name, values in zip("xy", support, strict=True)]
    asked = [_flat(f"query_{name}", values) for name, values in zip("xy", query, strict=True)]
    predicted = {name: _flat(name, values) for name, values in predictions.items()}
    spread = {name: _flat(f"the deviation of {name}", values) for name, values in (deviations or {}).items()}
    lengths = [len(each) for each in (*asked, *predicted.values(), *spread.values())]
    if len(given[0]) != len(given[1]) or len(set(lengths)) != 1 or not lengths[0] or not predicted:
        raise MetaRLError(
            f"A support of {len(given[0])} x and {len(given[1])} y, a query of {lengths[0]} x and {lengths[1]} y, "
            f"and {len(predicted)} predictions with {len(spread)} deviations of {lengths[2:]} numbers; give as many y "
            "as x, and at least one prediction of all the query."
        )
    if unknown := set(spread) - set(predicted):
        raise MetaRLError(f"Deviations of {sorted(unknown)} without a prediction; there are {', '.join(predicted)}.")
    if any((each < 0).any() for each in spread.values()):
        raise MetaRLError(f"The least deviation is {min(each.min() for each in spread.values())}; give none below 0.")
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


def _flat(name: str, values: ArrayLike) -> Array:
    """Return one number a sample, ``(n,)``; raises for anything else."""
    array = numbers(name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise MetaRLError(f"{name} has shape {array.shape}; one number a sample is drawn, (n,) or (n, 1).")
    return array
