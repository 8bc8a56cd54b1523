"""A picture of a Gaussian belief against the true task, as it narrows."""

import numpy as np
from matplotlib.figure import Figure

from metarl.evaluate.probe import Beliefs, linear_reading
from metarl.evaluate.scores import evenly
from metarl.plotting.belief import MOST_PANELS, after_episodes
from metarl.plotting.style import AGENTS, INK, caption, frame, heading


def posterior_figure(beliefs: Beliefs, title: str) -> Figure:
    """What the first seed's agent holds a task parameter for, mean ± 2 sd by task, one panel for a number of episodes.

    The latent space has no units. So the parameter that it tells best is read off the last means by a linear
    regression, and every posterior's mean and variance go through that same linear map. Where the map tells all, the
    points lie on the dashed diagonal.
    """
    name, true, mean, deviation = linear_reading(beliefs)
    panels = evenly(range(len(beliefs.episodes)), MOST_PANELS)
    figure = Figure(figsize=(2.5 * len(panels) + 0.9, 3.7))
    grid = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.8 / figure.get_figwidth(), right=0.985, bottom=0.2, top=0.74, wspace=0.12)
    span = np.array([true.min(), true.max()])
    for i, (axes, point) in enumerate(zip(grid, panels, strict=True)):
        frame(axes, f"true {name}", f"{name} by the posterior" if i == 0 else "")
        axes.plot(span, span, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.errorbar(
            true, mean[point], 2 * deviation[point], fmt="o", color=AGENTS[0], markersize=4, elinewidth=1, alpha=0.75
        )
        caption(axes, after_episodes(beliefs.episodes[point]), 4)
    margin = 0.6 * np.ptp(span)
    grid[0].set_ylim(span[0] - margin, span[1] + margin)
    heading(grid[0], title, "")
    return figure
