"""A picture of what an agent knows of its tasks, and of how well they can be read from it."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from metarl.evaluate.probe import PROBES, Beliefs, Probe
from metarl.evaluate.scores import evenly
from metarl.evaluate.statistics import Array
from metarl.plotting.style import AGENTS, GRID, INK, MUTED, PANEL, End, caption, frame, heading, label_ends

MOST_PANELS = 5
# From blue over grey to vermilion, all dark enough for small dots on a light ground.
TRUE = LinearSegmentedColormap.from_list("true", ("#0b3c6f", "#4c97cf", "#b9bcc0", "#ea9a5b", "#b34700"))


def belief_figure(beliefs: Beliefs, probe: Probe, title: str) -> Figure:
    """The beliefs of all tasks in the plane, one panel for a number of episodes, and the probes' R² by episodes.

    The plane is that of the two principal components of all points together, so panels can be compared. It is drawn for
    the first seed, since each has a space of its own; the R² is the mean over seeds. Colours are the true values of the
    parameter that the linear probe reads best in the end.
    """
    panels = evenly(range(len(beliefs.episodes)), MOST_PANELS)
    width = 2.15 * max(3, len(panels)) + 4.6
    figure = Figure(figsize=(width, 3.5))
    grid = GridSpec(
        1, len(panels) + 1, figure, left=0.3 / width, right=1 - 1.3 / width, bottom=0.2, top=0.72,
        width_ratios=[1.0] * len(panels) + [1.35], wspace=0.12,
    )  # fmt: skip
    best = int(np.argmax(probe.r2["linear"][:, -1].mean(axis=0)))
    name = probe.names[best]
    true = beliefs.tasks[:, beliefs.names.index(name)]
    places = _plane(np.asarray(beliefs.values[0], dtype=np.float64))
    low, high = places.min(axis=(0, 1)), places.max(axis=(0, 1))
    margin = 0.08 * np.maximum(high - low, 1e-9)
    for i, point in enumerate(panels):
        axes = figure.add_subplot(grid[i])
        axes.set(xticks=[], yticks=[], facecolor=PANEL)
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axes.spines[:].set_visible(False)
        x, y = places[point].T
        size = 26 if len(true) <= 200 else 9
        dots = axes.scatter(x, y, c=true, cmap=TRUE, s=size, edgecolors="white", linewidths=0.3)
        axes.set_xlabel(after_episodes(beliefs.episodes[point]), color=MUTED, fontsize=10.5)
        if i == 0:
            heading(axes, title, f"{len(true)} tasks in two principal components, coloured by {name}")
            bar = figure.add_axes((0.95 / width, 0.065, 1.6 / width, 0.022))
            figure.colorbar(dots, cax=bar, orientation="horizontal", ticks=[])
            bar.spines[:].set_color(GRID)
            for at, value, side in ((-0.04, true.min(), "right"), (1.04, true.max(), "left")):
                style: dict[str, Any] = {"color": MUTED, "fontsize": 9.5, "ha": side, "va": "center"}
                bar.text(at, 0.4, f"{value:.2g}", transform=bar.transAxes, **style)
    _draw_probe(figure.add_subplot(grid[len(panels)]), probe)
    return figure


def _draw_probe(axes: Axes, probe: Probe) -> None:
    place = axes.get_position()
    axes.set_position((place.x0 + 0.22 * place.width, place.y0, 0.78 * place.width, place.height))
    frame(axes, "episodes of interaction")
    ends = []
    for name, colour in zip(PROBES, AGENTS, strict=False):
        of_seed = probe.r2[name].mean(axis=2)  # (seed, point)
        mean = of_seed.mean(axis=0)
        if len(of_seed) > 1:
            axes.plot(probe.episodes, of_seed.T, color=colour, linewidth=0.7, alpha=0.5)
        axes.plot(probe.episodes, mean, color=colour, linewidth=2, marker="o", markersize=4, label=name)
        ends.append(End(float(mean[-1]), name, colour))
    axes.set_ylim(min(-0.05, *(end.y - 0.05 for end in ends)), 1.05)
    axes.axhline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    if len(probe.episodes) <= 6:
        axes.set_xticks(list(probe.episodes))
    label_ends(axes, ends, gap=0.11)
    several = f", mean of {len(probe.names)} parameters" if len(probe.names) > 1 else ""
    caption(axes, f"R² of a probe{several}")


def _plane(values: Array) -> Array:
    """The first two principal components of (point, task, d), fitted over all of them: (point, task, 2)."""
    flat = values.reshape(-1, values.shape[-1])
    centred = flat - flat.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    top = axes[:, ::-1][:, :2]
    # An eigenvector's sign is arbitrary: its greatest entry is made positive.
    top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(top.shape[1])])
    places = centred @ top
    missing = 2 - places.shape[1]  # one where the belief is a single number
    return np.pad(places, ((0, 0), (0, missing))).reshape(*values.shape[:2], 2)


def after_episodes(episodes: int) -> str:
    """How a panel is called."""
    return "before any episode" if episodes == 0 else f"after {episodes} episode{'s' * (episodes > 1)}"
