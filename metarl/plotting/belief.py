"""Figures of what an agent knows of its tasks: its beliefs in the plane, probes of them, a posterior that narrows."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metarl.evaluation.probe import PROBES, Beliefs, Probe, linear_reading
from metarl.evaluation.scores import evenly
from metarl.evaluation.statistics import Array
from metarl.plotting.style import (
    AGENTS,
    DASHES,
    INK,
    MUTED,
    PANEL,
    TEXT,
    caption,
    frame,
    heading,
    key,
    new_figure,
)

MOST_PANELS = 5
# From blue over grey to vermilion, all dark enough for small dots on a light ground.
TRUE = LinearSegmentedColormap.from_list("true", ("#0b3c6f", "#4c97cf", "#b9bcc0", "#ea9a5b", "#b34700"))


def belief_figure(beliefs: Beliefs, probe: Probe, title: str) -> Figure:
    """Draw the beliefs of all tasks in the plane, a panel for some numbers of episodes, and the probes' R² by episodes.

    The plane is that of the two principal components of all points together, so panels can be compared. It is drawn for
    the first seed, since each has a space of its own; the R² is the mean over seeds. Colours are the true values of the
    parameter that the linear probe reads best in the end.
    """
    points = evenly(range(len(beliefs.episodes)), MOST_PANELS)
    figure = new_figure(2.15 * max(3, len(points)) + 4.4, 3.6)
    names = [str(point) for point in points]
    axes_of = figure.subplot_mosaic([[*names, "probe"]], width_ratios=[1.0] * len(points) + [1.45])
    panels = [axes_of[name] for name in names]
    best = int(np.argmax(probe.r2["linear"][:, -1].mean(axis=0)))
    name = probe.names[best]
    true = beliefs.tasks[:, beliefs.names.index(name)]
    plane = principal_plane(np.asarray(beliefs.values[0], dtype=np.float64))
    low, high = plane.min(axis=(0, 1)), plane.max(axis=(0, 1))
    margin = 0.08 * np.maximum(high - low, 1e-9)
    for axes, point in zip(panels, points, strict=True):
        axes.set(xticks=[], yticks=[], facecolor=PANEL)
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axes.spines[:].set_visible(False)
        size = 26 if len(true) <= 200 else 9
        x, y = plane[point].T
        dots = axes.scatter(x, y, c=true, cmap=TRUE, s=size, edgecolors="white", linewidths=0.3)
        axes.set_xlabel(after_episodes(beliefs.episodes[point]), color=MUTED, fontsize=TEXT)
    bar = figure.colorbar(dots, ax=panels, location="bottom", aspect=25, shrink=0.3, anchor=(0.0, 0.5), pad=0.04)
    bar.ax.tick_params(colors=MUTED, labelsize=9.5, length=0)
    bar.ax.spines[:].set_visible(False)
    bar.locator = MaxNLocator(3)
    _draw_probe(axes_of["probe"], probe)
    heading(figure, title, panels[0], f"{len(true)} tasks in two principal components, coloured by {name}")
    panels[0].title.set_in_layout(False)  # or the first panel would be as wide as its caption
    return figure


def posterior_figure(beliefs: Beliefs, title: str) -> Figure:
    """Draw the first seed's belief of a task parameter, mean ± 2 sd by task, a panel for some numbers of episodes.

    The latent space has no units. So the parameter that it tells best is read off the last means by a linear
    regression, and every posterior's mean and variance go through that same linear map. Where the map tells all, the
    points lie on the dashed diagonal.
    """
    name, true, mean, deviation = linear_reading(beliefs)
    points = evenly(range(len(beliefs.episodes)), MOST_PANELS)
    figure = new_figure(2.5 * len(points) + 0.9, 3.7)
    panels = figure.subplots(1, len(points), sharex=True, sharey=True, squeeze=False)[0]
    span = np.array([true.min(), true.max()])
    for i, (axes, point) in enumerate(zip(panels, points, strict=True)):
        frame(axes, f"true {name}", f"{name} by the posterior" if i == 0 else "")
        axes.plot(span, span, color=INK, linewidth=1, linestyle=DASHES, zorder=1)
        axes.errorbar(
            true, mean[point], 2 * deviation[point], fmt="o", color=AGENTS[0], markersize=4, elinewidth=1, alpha=0.75
        )
        caption(axes, after_episodes(beliefs.episodes[point]))
    margin = 0.6 * np.ptp(span)
    panels[0].set_ylim(span[0] - margin, span[1] + margin)
    heading(figure, title)
    return figure


def principal_plane(values: Array) -> Array:
    """Return the first two principal components of (point, task, d), fitted over all of them: (point, task, 2)."""
    flat = values.reshape(-1, values.shape[-1])
    from sklearn.decomposition import PCA  # here, for few agents have beliefs

    plane = PCA(min(2, *flat.shape), svd_solver="full").fit_transform(flat)
    missing = 2 - plane.shape[1]  # one where the belief is a single number
    return np.pad(plane, ((0, 0), (0, missing))).reshape(*values.shape[:2], 2)


def after_episodes(episodes: int) -> str:
    """Return the name of a panel."""
    return "before any episode" if episodes == 0 else f"after {episodes} episode{'s' * (episodes > 1)}"


def _draw_probe(axes: Axes, probe: Probe) -> None:
    """Draw the R² of each probe by episodes, and thinly that of each seed."""
    frame(axes, "episodes of interaction")
    ends = {}
    for name, colour in zip(PROBES, AGENTS, strict=False):
        of_seed = probe.r2[name].mean(axis=2)  # (seed, point)
        mean = of_seed.mean(axis=0)
        if len(of_seed) > 1:
            axes.plot(probe.episodes, of_seed.T, color=colour, linewidth=0.7, alpha=0.5)
        axes.plot(probe.episodes, mean, color=colour, linewidth=2, marker="o", markersize=4, label=name)
        ends[name] = float(mean[-1])
    axes.set_ylim(min(-0.05, *(end - 0.05 for end in ends.values())), 1.05)
    axes.axhline(0, color=INK, linewidth=1, linestyle=DASHES)
    if len(probe.episodes) <= 6:
        axes.set_xticks(list(probe.episodes))
    key(axes, ends)
    several = f", mean of {len(probe.names)} parameters" if len(probe.names) > 1 else ""
    caption(axes, f"R² of a probe{several}")
