"""Figures of agents: the adaptation curve with its intervals and single tasks, a comparison, training progress."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from metarl.core.errors import MetaRLError
from metarl.evaluation.comparison import check_comparable
from metarl.evaluation.rows import number
from metarl.evaluation.scores import Evaluation, short_name
from metarl.evaluation.statistics import Array
from metarl.evaluation.tables import replicates, title
from metarl.plotting.charts import Line, bands, draw_band, lines_figure, reach
from metarl.plotting.paths import after_steps, draw_paths
from metarl.plotting.style import (
    DASHES,
    FEW,
    INK,
    MUTED,
    TEXT,
    frame,
    framed_figure,
    heading,
    key,
    new_figure,
    step_colours,
    x_ticks,
)

_OF_NO_STEP = "rollout/return"  # what an agent logs that does not adapt
_WHOLE_TRIAL = "rollout/return_trial"
_OF_TRIALS = {"return_first": "first episode", "return_last": "last episode", "return_trial": "whole trial"}
_SAME = 1e-6  # of a level's size: less is rounding
MOST_TASKS = 200  # drawn singly
X_LABEL = "episodes of interaction"
HALO = [withStroke(linewidth=3, foreground="white")]  # keeps text legible on lines


def curve_figure(evaluation: Evaluation) -> Figure:
    """Draw the adaptation curve: mean return and its wider interval, floor and optimum; single tasks of a short one."""
    figure, axes = framed_figure(X_LABEL, "return", 7.2)
    _draw_curve(axes, evaluation)
    heading(figure, title(evaluation), axes, _caption(evaluation))
    return figure


def comparison_figure(evaluations: Sequence[Evaluation]) -> Figure:
    """Draw the curves of several agents on the same tasks: normalised scores where known, else returns.

    Reference policies are dashed. Raises MetaRLError where their tasks differ.
    """
    check_comparable(evaluations)
    first = evaluations[0]
    known = all(each.normalised is not None for each in evaluations)
    lines = {}
    for each in evaluations:
        scores = [point.normalised if known else point.returns for point in each.points]
        lines[each.agent] = Line(each.episodes, [score for score in scores if score is not None], each.reference)
    trained = [each for each in evaluations if not each.reference] or evaluations
    figure, axes = lines_figure(
        lines,
        title=title(first).removeprefix(f"{first.agent} on "),
        subtitle=f"{replicates(*trained)}, 95% intervals",
        x_label=X_LABEL,
        y_label="normalised score" if known else "return",
    )
    if known:
        axes.set_ylim(min(axes.get_ylim()[0], -0.09), max(axes.get_ylim()[1], 1.09))
        _level(axes, np.zeros(1), first.floor_name, above=False)
        _level(axes, np.ones(1), first.optimum_name, above=True)
    return figure


def learning_figure(
    progress: Sequence[str | Path],
    *,
    steps: str,
    returns: Sequence[str],
    labels: tuple[str, str] = ("environment steps", "return"),
) -> Figure:
    """Draw training progress: environment steps against the return after each adaptation step.

    Args:
        progress: the progress.csv of each seed, as SB3's logger writes it. A thin line is one seed, the thick one
            their mean.
        steps: the column of environment steps.
        returns: the columns of returns after 0, 1, ... adaptation steps, or of a trial's episodes. A trial's total is
            of another size, and left out where there are others.
        labels: of the axes.

    Raises MetaRLError for a missing column, naming those that are there.
    """
    figure, axes = framed_figure(*labels)
    ends = {}
    returns = [column for column in returns if column != _WHOLE_TRIAL] or returns
    for k, (column, colour) in enumerate(zip(returns, step_colours(len(returns)), strict=True)):
        of_seed = [sorted(_logged(path, steps, column).items()) for path in progress]
        seeds = [np.array(each, dtype=np.float64).T for each in of_seed]
        # Episodes that end early leave the seeds with steps of their own: the mean is at the first one's, as far as all
        # have come.
        first, last = max(own[0][0] for own in seeds), min(own[0][-1] for own in seeds)
        common = seeds[0][0][(seeds[0][0] >= first) & (seeds[0][0] <= last)]
        if not len(common):
            raise MetaRLError(
                f"the steps of {', '.join(map(str, progress))} do not overlap in {column!r}; train the seeds alike"
            )
        for own in seeds if len(seeds) > 1 else ():
            axes.plot(*own, color=colour, linewidth=0.7, alpha=0.5)
        lines = np.stack([np.interp(common, *own) for own in seeds])
        axes.plot(common, lines.mean(axis=0), color=colour, linewidth=2, label=(name := _series(column, k)))
        ends[name] = float(lines[:, -1].mean())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}M" if value >= 1e6 else f"{value:,.0f}")
    axes.margins(x=0)
    key(axes, ends)
    subtitle = f"{len(progress)} seed{'s' * (len(progress) > 1)}"
    heading(figure, f"{labels[1].capitalize()} while training", axes, subtitle)
    return figure


def overview_figure(
    evaluation: Evaluation, paths: Array, goals: Array, valid: NDArray[np.bool_] | None = None, *, n_envs: int = 1
) -> Figure:
    """Draw paths on the left (see ``draw_paths``) and the curve on the right, steps in the same colours."""
    figure = new_figure(12, 4.8)
    left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1.0), squeeze=False)[0]
    variant = f" ({evaluation.variant})" if evaluation.variant else ""
    name = f"{evaluation.agent} on {short_name(evaluation.family)}{variant}"
    names = [f"episode {count + 1}" for count in evaluation.episodes] if evaluation.trial else []
    draw_paths(left, paths, goals, valid, n_envs=n_envs, title=name, names=names)
    axes = right.add_subplot()
    frame(axes, X_LABEL, "return")
    _draw_curve(axes, evaluation, coloured=True)
    heading(right, f"Return, {evaluation.split_label}", axes, _caption(evaluation))
    return figure


def _draw_curve(axes: Axes, evaluation: Evaluation, *, coloured: bool = False) -> None:
    episodes, points = evaluation.episodes, evaluation.points
    mean, low, high = bands([point.returns for point in points])
    few = len(points) <= FEW
    colour = step_colours(4)[2]  # the blue in the middle
    of_task = evaluation.returns.mean(axis=0) if few else np.empty((len(points), 0))  # (point, task)
    drawn = of_task[:, :MOST_TASKS]
    axes.plot(episodes, drawn, color=MUTED, linewidth=0.7, alpha=min(0.3, 12 / max(1, drawn.shape[1])), zorder=1)
    draw_band(axes, episodes, low, high, colour, 0.25)
    axes.plot(episodes, mean, color=colour, linewidth=2.4, zorder=3)
    if few:
        colours = step_colours(len(points)) if coloured else [colour] * len(points)
        axes.scatter(episodes, mean, s=75, c=colours, edgecolors="white", linewidths=1.6, zorder=4)
    # (point,) each: their scored episodes are the agent's own, which start anew at every point.
    floor, optimum = (None if a is None else a.mean(axis=1) for a in (evaluation.floor, evaluation.optimum))
    levels = [float(level.mean()) for level in (floor, optimum) if level is not None]
    # A task or two that went astray must not squeeze the curve: they may leave the picture.
    usual = np.quantile(of_task, (0.02, 0.98), axis=1).ravel() if few else []
    shown = np.concatenate([reach(low, high), mean, usual, levels])
    margin = 0.07 * np.ptp(shown)
    axes.set_ylim(shown.min() - margin, shown.max() + 1.4 * margin)
    # Where the curve ends on the floor, its name stands below that end.
    on_floor = floor is not None and abs(mean[-1] - floor[-1]) < 2 * margin
    for point in points if few else ():
        above = on_floor and point is points[-1]
        text = (
            number(point.returns.value) if point.normalised is None else f"{number(100 * point.normalised.value, 0)}%"
        )
        axes.annotate(
            text,
            (point.episodes, point.returns.value),
            (6, 8 if above else -8),
            textcoords="offset points",
            color=INK,
            fontsize=TEXT,
            ha="right" if point is points[-1] and len(points) > 1 else "left",
            va="bottom" if above else "top",
            path_effects=HALO,
            zorder=5,
        )
    for level, name in ((floor, evaluation.floor_name), (optimum, evaluation.optimum_name)):
        if level is not None:
            _level(axes, level, f"{name} {number(float(level.mean()))}", above=level is optimum, episodes=episodes)
    x_ticks(axes, episodes)
    if evaluation.references is not None:
        _normalised_axis(axes, *levels)


def _caption(evaluation: Evaluation) -> str:
    tasks = ", single tasks in grey" if 1 < len(evaluation.episodes) <= FEW else ""
    return f"{replicates(evaluation)}: mean, 95% interval{tasks}"


def _series(column: str, k: int) -> str:
    """Return the name of the k-th column in the learning curve."""
    name = column.rsplit("/", 1)[-1]
    if name.startswith("return_episode_"):
        return name.removeprefix("return_").replace("_", " ")
    if column.startswith("train/"):  # of a few-shot learner: what adapted queries of its training tasks give
        return "training tasks"
    return "return" if column == _OF_NO_STEP else _OF_TRIALS.get(name) or after_steps(k)


def _level(axes: Axes, level: Array, text: str, *, above: bool, episodes: Sequence[int] = ()) -> None:
    """Draw a dashed line at known returns ``(point,)``, named at its end, ``above`` it or below.

    It is level, and spans the axes, where all are the same.
    """
    dashes: dict[str, Any] = {"color": INK, "linewidth": 1, "linestyle": DASHES, "zorder": 2.5}
    if np.ptp(level) <= _SAME * np.abs(level).max():
        axes.axhline(level[0], **dashes)
    else:
        axes.plot(episodes, level, **dashes)
    axes.annotate(
        text,
        (0.995 if not above else 0.005, level[0 if above else -1]),
        (0, 4 if above else -4),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="left" if above else "right",
        va="bottom" if above else "top",
        color=INK,
        fontsize=TEXT,
        path_effects=HALO,
        zorder=5,
    )


def _normalised_axis(axes: Axes, floor: float, optimum: float) -> None:
    """Show the score, which is linear in the mean return, on a second axis.

    It lies between these levels, which are means over the curve: where floor and optimum differ from point to point it
    is near the scores of the tables, which are paired at each point.
    """
    gap = optimum - floor

    def normalise(returns: ArrayLike) -> Array:
        return (np.asarray(returns, dtype=np.float64) - floor) / gap

    def restore(scores: ArrayLike) -> Array:
        return floor + np.asarray(scores, dtype=np.float64) * gap

    second = axes.secondary_yaxis("right", functions=(normalise, restore))
    low, high = axes.get_ylim()
    ticks = np.linspace(0, 1, 5 if high - low < 1.8 * gap else 3)
    second.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    second.tick_params(colors=MUTED, labelsize=TEXT, length=0)
    second.set_ylabel("normalised score", color=MUTED, fontsize=11)
    second.spines["right"].set_visible(False)


def _logged(path: str | Path, steps: str, column: str) -> dict[int, float]:
    """Return {environment steps: value} of the rows that logged both; SB3 leaves the others' cells empty."""
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        for name in (steps, column):
            if name not in names:
                raise MetaRLError(f"{path} has no column {name!r}; it has {', '.join(names)}")
        return {int(float(row[steps])): float(row[column]) for row in reader if row[steps] and row[column]}
