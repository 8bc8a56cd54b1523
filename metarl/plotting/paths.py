"""Pictures of paths in the plane, before adaptation and after each step of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.evaluate.scores import evenly
from metarl.evaluate.statistics import Array
from metarl.plotting.style import GOAL, INK, PANEL, step_colours

_MOST_NAMED = 3  # steps that a legend has room for beside the goal; of one more the names are short enough

PATHS_WIDTH, HEAD, MARGIN, GAP = 5.85, 0.85, 0.12, 0.1  # inches: of all panels, above, around and between them


def paths_figure(paths: Array, goals: Array, valid: NDArray[np.bool_] | None = None, *, n_envs: int = 1) -> Figure:
    """Paths in the plane after each adaptation step, one small panel a task.

    Args:
        paths: (step, task, env, time, 2) positions, the start included. All tasks are drawn: give about six.
        goals: (task, 2), drawn as stars.
        valid: (step, task, env, time), False where an episode has ended; None where all are real.
        envs: how many envs of each task are drawn.
    """
    figure = Figure(figsize=(PATHS_WIDTH + 0.3, 4.8))
    draw_paths(figure, paths, goals, valid, n_envs=n_envs)
    return figure


def draw_paths(
    figure: Figure,
    paths: Array,
    goals: Array,
    valid: NDArray[np.bool_] | None = None,
    *,
    n_envs: int = 1,
    heading: str = "Paths before and after adaptation",
    names: Sequence[str] = (),
) -> None:
    """Draw the panels of ``paths_figure`` and their heading at the left of a figure, PATHS_WIDTH inches wide.

    ``names`` are those of the steps: "before adaptation", "1 step", ... unless given.

    Raises MetaRLError for arrays whose shapes do not fit.
    """
    if paths.ndim != 5 or paths.shape[-1] != 2 or goals.shape != (paths.shape[1], 2):
        raise MetaRLError(f"paths {paths.shape}, goals {goals.shape}; give (step, task, env, time, 2) and (task, 2)")
    if valid is not None and valid.shape != paths.shape[:-1]:
        raise MetaRLError(f"valid {valid.shape} beside paths {paths.shape}; give (step, task, env, time)")
    n_steps, n_tasks = paths.shape[:2]
    centre = paths[0, :, :, 0].mean(axis=(0, 1))
    # The goals decide what is shown: a path before adaptation may wander out of its panel.
    reach = 1.3 * np.abs(goals - centre).max() * np.array([-1, 1])
    colours = step_colours(n_steps)
    for task, axes in enumerate(_panels(figure, n_tasks)):
        axes.set(xticks=[], yticks=[], xlim=centre[0] + reach, ylim=centre[1] + reach, facecolor=PANEL)
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
    top = figure.get_figheight()
    left = MARGIN / figure.get_figwidth()
    figure.text(left, (top - 0.38) / top, heading, color=INK, fontsize=13, fontweight="bold")
    named = list(zip(colours, names or map(after, range(n_steps)), strict=False))
    handles = [
        Line2D([], [], color=colour, linewidth=3, solid_capstyle="butt", label=name)
        for colour, name in evenly(named, _MOST_NAMED if n_steps > _MOST_NAMED + 1 else n_steps)
    ]
    handles.append(Line2D([], [], color=GOAL, marker="*", markersize=12, linewidth=0, label="hidden goal"))
    style = {"handlelength": 1.3, "handletextpad": 0.5, "columnspacing": 1.3, "borderaxespad": 0, "borderpad": 0}
    anchor = (left, (top - 0.5) / top)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=anchor,
        ncols=len(handles),
        frameon=False,
        fontsize=10.5,
        labelcolor=INK,
        **style,
    )


def _panels(figure: Figure, n_panels: int) -> list[Axes]:
    """Equal squares in rows of three at the figure's left, below its heading."""
    columns = 2 if n_panels == 4 else min(3, n_panels)
    rows = -(-n_panels // columns)
    width, height = figure.get_figwidth(), figure.get_figheight()
    side = min((PATHS_WIDTH + GAP) / columns, (height - HEAD - MARGIN + GAP) / rows) - GAP
    corners = [
        (MARGIN + column * (side + GAP), height - HEAD - side - row * (side + GAP))
        for row in range(rows)
        for column in range(columns)
    ]
    return [figure.add_axes((x / width, y / height, side / width, side / height)) for x, y in corners[:n_panels]]


def after(step: int) -> str:
    """How a label calls an adaptation step."""
    return "before adaptation" if step == 0 else f"{step} step{'s' * (step > 1)}"
