"""Paths in the plane, before adaptation and after each step of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.evaluation.scores import evenly
from metarl.evaluation.statistics import Array
from metarl.plotting.style import GOAL, INK, PANEL, TEXT, heading, step_colours

_MOST_NAMED = 3  # steps that a legend has room for beside the goal; of one more the names are short enough


def draw_paths(
    figure: Figure | SubFigure,
    paths: Array,
    goals: Array,
    valid: NDArray[np.bool_] | None = None,
    *,
    n_envs: int = 1,
    title: str = "Paths before and after adaptation",
    names: Sequence[str] = (),
) -> None:
    """Draw paths in the plane after each adaptation step into a figure, one small panel a task.

    Args:
        figure: with constrained layout.
        paths: (step, task, env, time, 2) positions, the start included. All tasks are drawn: give about six.
        goals: (task, 2), drawn as stars.
        valid: (step, task, env, time), False where an episode has ended; None where all are real.
        n_envs: how many envs of each task are drawn.
        title: above the panels.
        names: of the steps; "before adaptation", "1 step", ... unless given.

    Raises MetaRLError for arrays whose shapes do not fit.
    """
    if paths.ndim != 5 or paths.shape[-1] != 2 or goals.shape != (paths.shape[1], 2):
        raise MetaRLError(f"paths {paths.shape}, goals {goals.shape}; give (step, task, env, time, 2) and (task, 2)")
    if valid is not None and valid.shape != paths.shape[:-1]:
        raise MetaRLError(f"valid {valid.shape} beside paths {paths.shape}; give (step, task, env, time)")
    n_steps, n_tasks = paths.shape[:2]
    centre = paths[0, :, :, 0].mean(axis=(0, 1))
    # The goals decide what is shown: a path before adaptation may wander out of its panel.
    shown = 1.3 * np.abs(goals - centre).max() * np.array([-1, 1])
    colours = step_colours(n_steps)
    columns = 2 if n_tasks == 4 else min(3, n_tasks)
    panels = figure.subplots(-(-n_tasks // columns), columns, squeeze=False).ravel()
    for unused in panels[n_tasks:]:
        unused.remove()
    for task, axes in enumerate(panels[:n_tasks]):
        axes.set(xticks=[], yticks=[], xlim=centre[0] + shown, ylim=centre[1] + shown, facecolor=PANEL, box_aspect=1)
        axes.spines[:].set_visible(False)
        for step, colour in enumerate(colours):
            # Early paths are long and wild, late ones short: thicker lines keep them in sight.
            width = 1 + 1.4 * step / max(1, n_steps - 1)
            for env in range(min(n_envs, paths.shape[2])):
                path = paths[step, task, env]
                path = path if valid is None else path[valid[step, task, env]]
                axes.plot(*path.T, color=colour, linewidth=width, solid_joinstyle="round", zorder=2 + step)
                axes.plot(*path[-1], "o", color=colour, markersize=5.5, markeredgecolor="white", zorder=20 + step)
        axes.plot(*goals[task], "*", color=GOAL, markersize=15, markeredgecolor="white", zorder=40)
        axes.plot(*centre, "o", color="white", markersize=6.5, markeredgecolor=INK, zorder=50)
    heading(figure, title)
    named = list(zip(colours, names or map(after_steps, range(n_steps)), strict=False))
    handles = [
        Line2D([], [], color=colour, linewidth=3, solid_capstyle="butt", label=name)
        for colour, name in evenly(named, _MOST_NAMED if n_steps > _MOST_NAMED + 1 else n_steps)
    ]
    handles.append(Line2D([], [], color=GOAL, marker="*", markersize=12, linewidth=0, label="hidden goal"))
    style = {"handlelength": 1.3, "handletextpad": 0.5, "columnspacing": 1.3, "borderaxespad": 0.3, "borderpad": 0}
    figure.legend(
        handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=TEXT, labelcolor=INK,
        **style,
    )  # fmt: skip


def after_steps(step: int) -> str:
    """Return the label of an adaptation step."""
    return "before adaptation" if step == 0 else f"{step} step{'s' * (step > 1)}"
