"""Pictures of scores: curves by adaptation step, learners in comparison, and one task of regression."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from metarl.core.errors import MetaRLError
from metarl.plotting.fewshot.layout import SUBTITLE, Array, numbers, panel, sheet_of, text_width
from metarl.plotting.style import AGENTS, INK, MUTED, End, agent_colours, frame, heading, label_ends, step_colours

Row = tuple[str, float, float, float, str]  # a learner's name, its value, the interval's ends, a note

FEW = 12  # a curve of at most so many points gets markers, and a tick for each
_ROW, _BARS, _NAME = 27, 300, 11  # points: the height of a learner's row, the width of all bars, the size of names
_FAR = 4  # a floor that would make the axis so many times as long is named at its end instead
_DASHES = (0, (4, 3))


def steps_figure(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]], *, title: str, subtitle: str, y_label: str
) -> Figure:
    """What each learner scores after so many adaptation steps: a line, its interval as a band, its name at the end.

    Args:
        curves: name -> (steps, mean, low, high), each ``(k,)``, the steps increasing. A learner that stops before
            others is joined to its name by dots.

    Raises MetaRLError where they differ in length, or an interval's low end lies above its high one.
    """
    if not curves:
        raise MetaRLError("There are 0 curves; give at least one.")
    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.add_subplot()
    frame(axes, "adaptation steps", y_label)
    made = {name: _curve(name, curve) for name, curve in curves.items()}
    last = max(curve[0, -1] for curve in made.values())
    ends = []
    for (name, (steps, mean, low, high)), colour in zip(made.items(), agent_colours(len(made)), strict=True):
        axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(steps, mean, color=colour, linewidth=2, marker="o" if len(steps) <= FEW else "", label=name)
        if steps[-1] < last:
            axes.hlines(mean[-1], steps[-1], last, color=colour, linewidth=1, linestyle=(0, (1, 3)))
        ends.append(End(float(mean[-1]), name, colour))
    ticks = sorted({float(step) for curve in made.values() for step in curve[0]})
    if len(ticks) <= FEW and min(np.diff(ticks), default=1) >= (ticks[-1] - ticks[0]) / 20:
        axes.set_xticks(ticks)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    extent = max(1.0, ticks[-1] - ticks[0])
    axes.set_xlim(ticks[0] - 0.03 * extent, ticks[-1] + 0.03 * extent)
    label_ends(axes, ends)
    heading(axes, title, subtitle)
    return figure


def comparison_figure(
    rows: Sequence[Row],
    *,
    title: str,
    subtitle: str,
    floor: tuple[float, str] | None = None,
    x_label: str = "accuracy",
    form: str = ".1%",
    lower_is_better: bool = False,
) -> Figure:
    """Learners in rows, the best at the top: a dot, its interval as a bar, the value and a note on the right.

    Args:
        rows: (name, value, low, high, note) each; the note may be empty.
        floor: a value to compare with, such as chance, and its name; a dashed line, or where that is far off and
            would squeeze the intervals to dots, an arrow to it.
        form: Python's format of a value: ``.1%`` for shares such as accuracies, ``.3f`` for errors.

    Raises MetaRLError for no rows, and for values or intervals that are none.
    """
    if not rows:
        raise MetaRLError("There are 0 rows; give at least one learner.")
    for name, value, low, high, _ in rows:
        if not np.isfinite((value, low, high)).all() or low > high:
            raise MetaRLError(
                f"{name!r} has value {value} and interval [{low}, {high}]; give finite numbers, the low end first."
            )
    if floor is not None and not np.isfinite(floor[0]):
        raise MetaRLError(f"The floor {floor[1]!r} is {floor[0]}; give a finite number.")
    ordered = sorted(rows, key=lambda row: row[1], reverse=not lower_is_better)
    written = [f"{row[1]:{form}}" for row in ordered]
    left = max(text_width(row[0], _NAME) for row in rows) + 10
    at_value = 12 + max(text_width(text, _NAME) for text in written)  # where values end, right of the axes
    right = at_value + max(text_width(f"   {row[4]}" if row[4] else "", _NAME) for row in rows)
    headroom = 0.6 if floor is None else 1.1  # rows, above the first: the floor's name stands there
    bars = _ROW * (len(rows) - 0.4 + headroom)
    whole = max(left + _BARS + right, text_width(subtitle, SUBTITLE))
    figure, sheet = sheet_of(whole, bars + 34)
    heading(sheet, title, subtitle)
    axes = panel(sheet, left, 0, whole - left - right, bars)
    frame(axes, x_label)
    places = np.arange(len(rows))
    values, lows, highs = np.array([row[1:4] for row in ordered], dtype=np.float64).T
    axes.hlines(places, lows, highs, color=AGENTS[0], linewidth=2.4, alpha=0.45)
    axes.scatter(values, places, s=46, color=AGENTS[0], edgecolors="white", linewidths=0.8, zorder=3)
    axes.set_ylim(len(rows) - 0.4, -headroom)
    axes.set_yticks(places, [row[0] for row in ordered], color=INK, fontsize=_NAME)
    for i, (row, text) in enumerate(zip(ordered, written, strict=True)):
        for content, colour, side in ((text, INK, "right"), (f"   {row[4]}", MUTED, "left")):
            axes.annotate(
                content, (1, i), (at_value, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                color=colour, fontsize=_NAME, ha=side, va="center_baseline", annotation_clip=False,
            )  # fmt: skip
    reach = np.array([*values, *lows, *highs])
    if floor is not None and np.ptp([*reach, floor[0]]) <= _FAR * np.ptp(reach):
        reach = np.append(reach, floor[0])
    margin = 0.05 * (np.ptp(reach) or abs(reach[0]) or 1.0)
    axes.set_xlim(float(reach.min() - margin), float(reach.max() + margin))
    if form.endswith("%"):
        axes.xaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 6):g}%")
    if floor is not None:
        _floor(axes, floor[0], f"{floor[1]} {floor[0]:{form}}")
    return figure


def regression_figure(
    support_x: ArrayLike,
    support_y: ArrayLike,
    query_x: ArrayLike,
    query_y: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    *,
    title: str,
    subtitle: str,
    deviations: Mapping[str, ArrayLike] | None = None,
) -> Figure:
    """A task with one number in and one out: the true function, the support, and what is predicted after some steps.

    Args:
        support_x, support_y: ``(n,)``, or ``(n, 1)``.
        query_x, query_y: ``(m,)`` or ``(m, 1)`` points of the true function, in any order.
        predictions: name -> ``(m,)`` or ``(m, 1)`` at the query, from before adaptation to after the last step. What
            lies far from the task leaves the picture.
        deviations: name -> standard deviations ``(m,)`` of those that state them; a band of ± 2 of them is drawn.
    """
    support = [_flat("support_x", support_x), _flat("support_y", support_y)]
    query = [_flat("query_x", query_x), _flat("query_y", query_y)]
    predicted = {name: _flat(name, values) for name, values in predictions.items()}
    bands = {name: _flat(f"the deviation of {name}", values) for name, values in (deviations or {}).items()}
    lengths = [len(each) for each in (*query, *predicted.values(), *bands.values())]
    if len(support[0]) != len(support[1]) or len(set(lengths)) != 1 or not lengths[0] or not predicted:
        raise MetaRLError(
            f"A support of {len(support[0])} x and {len(support[1])} y, a query of {lengths[0]} x and {lengths[1]} y, "
            f"and {len(predicted)} predictions with {len(bands)} deviations of {lengths[2:]} numbers; give as many y "
            "as x, and at least one prediction of all the query."
        )
    if unknown := set(bands) - set(predicted):
        raise MetaRLError(f"Deviations of {sorted(unknown)} without a prediction; there are {', '.join(predicted)}.")
    if any((band < 0).any() for band in bands.values()):
        raise MetaRLError(f"The least deviation is {min(band.min() for band in bands.values())}; give none below 0.")
    order = np.argsort(query[0], kind="stable")
    x, y = query[0][order], query[1][order]
    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.add_subplot()
    frame(axes, "x", "y")
    axes.plot(x, y, color=INK, linewidth=1.4, linestyle=_DASHES, label="true", zorder=3)
    colours = step_colours(len(predicted)) if len(predicted) > 1 else step_colours(2)[1:]
    for (name, values), colour in zip(predicted.items(), colours, strict=True):
        axes.plot(x, values[order], color=colour, linewidth=2, label=name, zorder=2)
        if name in bands:
            low, high = (values[order] + side * bands[name][order] for side in (-2, 2))
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.scatter(support[0], support[1], s=52, color=INK, edgecolors="white", linewidths=1.2, zorder=4)
    task = np.concatenate([y, support[1]])
    reached = [side * bands.get(name, 0.0) + values for name, values in predicted.items() for side in (-2, 2)]
    drawn = np.concatenate([task, *reached])
    room = np.ptp(task) or 1.0
    least, most = max(drawn.min(), task.min() - room), min(drawn.max(), task.max() + room)
    axes.set_ylim(float(least - 0.06 * room), float(most + 0.06 * room))
    axes.margins(x=0.02)
    lasts = [(y[-1], "true", INK)]
    lasts += [
        (values[order][-1], name, colour) for (name, values), colour in zip(predicted.items(), colours, strict=True)
    ]
    ends = [End(float(np.clip(last, least, most)), name, colour) for last, name, colour in lasts]
    label_ends(axes, [*ends, End(float(least), "● support", INK)])
    heading(axes, title, subtitle)
    return figure


def _curve(name: str, curve: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]) -> Array:
    """(steps, mean, low, high), ``(4, k)``."""
    parts = [numbers(name, part) for part in curve]
    shapes = [part.shape for part in parts]
    if len(parts) != 4 or len(set(shapes)) != 1 or len(shapes[0]) != 1 or not shapes[0][0]:
        raise MetaRLError(f"{name}: arrays of shapes {shapes}; give steps, mean, low and high, each (k,) with k >= 1.")
    steps, _, low, high = parts
    if (np.diff(steps) <= 0).any():
        raise MetaRLError(f"{name}: steps {steps.tolist()} do not increase; sort them.")
    if (low > high).any():
        at = int(np.argmax(low > high))
        raise MetaRLError(
            f"{name}: after {steps[at]:g} steps the interval is [{low[at]}, {high[at]}]; the low end first."
        )
    return np.stack(parts)


def _flat(name: str, values: ArrayLike) -> Array:
    array = numbers(name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise MetaRLError(f"{name} has shape {array.shape}; one number a sample is drawn, (n,) or (n, 1).")
    return array


def _floor(axes: Axes, value: float, text: str) -> None:
    """A dashed line through all rows, named above the first on the side that has room, or an arrow to where it is."""
    low, high = axes.get_xlim()
    x, offset, side = value, 5, "left"
    if value < low:
        x, offset, text = low, 0, f"← {text}"
    elif value > high:
        x, offset, side, text = high, 0, "right", f"{text} →"
    else:
        axes.axvline(value, color=INK, linewidth=1, linestyle=_DASHES, zorder=1)
        if value - low > high - value:
            offset, side = -5, "right"
    axes.annotate(
        text, (x, 1), (offset, -2), xycoords=("data", "axes fraction"), textcoords="offset points", color=INK,
        fontsize=SUBTITLE, ha=side, va="top",
    )  # fmt: skip
