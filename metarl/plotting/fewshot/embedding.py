"""A figure of an episode's features in the plane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA

from metarl.evaluation.statistics import Array
from metarl.plotting.style import AGENTS, INK, MUTED, PANEL, TEXT, agent_colours, heading, new_figure, short

MARKERS = "osD^"  # of classes whose colours repeat
_ENTRIES = 23  # of a column of the key
_SIZES = {"queries": 26, "support": 120, "prototypes": 85}  # the later over the earlier
_OUTLINES = {"support": 1.4, "prototypes": 0.9}


def embedding_figure(
    support: ArrayLike,
    support_labels: ArrayLike,
    queries: ArrayLike,
    query_labels: ArrayLike,
    prototypes: ArrayLike | None,
    names: Sequence[str],
    *,
    title: str,
    subtitle: str,
) -> Figure:
    """Draw an episode's features in the plane of their two principal components, coloured by their true class.

    The components are those of support and queries together. Both axes have the same scale, so distances can be seen.

    Args:
        support, queries: ``(n, d)``.
        support_labels, query_labels: ``(n,)`` classes from 0 to ``len(names)`` - 1.
        prototypes: ``(len(names), d)``, of learners that have them.
        names: of the classes.
        title: of the figure.
        subtitle: below it.
    """
    given = {"support": support, "queries": queries, "prototypes": prototypes}
    parts = {kind: np.asarray(each, np.float64) for kind, each in given.items() if each is not None}
    labels = {
        "queries": np.asarray(query_labels),
        "support": np.asarray(support_labels),
        "prototypes": np.arange(len(names)),
    }
    plane, shares = _plane(parts)
    kinds = [kind for kind in _SIZES if kind in parts]
    columns = -(-(len(names) + len(kinds)) // _ENTRIES)
    figure = new_figure(5.6 + 2.3 * columns, 6.2)
    axes = figure.add_subplot()
    axes.set(xticks=[], yticks=[], facecolor=PANEL, box_aspect=1)
    axes.spines[:].set_visible(False)
    colours = agent_colours(len(names))
    markers = [MARKERS[c // len(AGENTS) % len(MARKERS)] for c in range(len(names))]
    for kind in kinds:
        for c in np.unique(labels[kind]):
            _mark(axes, plane[kind][labels[kind] == c], kind, colours[c], markers[c])
    axes.margins(0.06)
    axes.set_aspect("equal", adjustable="datalim")
    entries: list[Any] = [_mark(axes, np.full((1, 2), np.nan), kind, MUTED, "o") for kind in kinds]
    entries += [_mark(axes, np.full((1, 2), np.nan), "", *each) for each in zip(colours, markers, strict=True)]
    words = [*kinds, *map(short, names)]
    figure.legend(entries, words, loc="outside right upper", ncols=columns, frameon=False, fontsize=10, labelcolor=INK)
    held = " and ".join(f"{share:.0%}" for share in shares)
    axes.set_xlabel(f"two principal components, with {held} of the variance", color=MUTED, fontsize=TEXT, loc="left")
    heading(figure, title, axes, subtitle)
    return figure


def _mark(axes: Axes, places: Array, kind: str, colour: str, marker: str) -> Any:
    """Draw small queries, outlined support or prototypes with a cross; returns what a legend shows of them."""
    outline = INK if kind == "support" else "white"
    x, y = places.T
    drawn = axes.scatter(
        x, y, _SIZES.get(kind, 44), color=colour, marker=marker, label=kind,
        edgecolors=outline, linewidths=_OUTLINES.get(kind, 0.4),
    )  # fmt: skip
    if kind != "prototypes":
        return drawn
    return drawn, axes.scatter(x, y, 20, color="white", marker="x", linewidths=1.4)


def _plane(parts: dict[str, Array]) -> tuple[dict[str, Array], Array]:
    """Return each part in the plane, ``(n, 2)``, and the share of the variance that its two axes hold."""
    fitted_on = np.concatenate([parts["support"], parts["queries"]])
    n_components = min(2, *fitted_on.shape)
    pca = PCA(n_components, svd_solver="full")
    with np.errstate(invalid="ignore"):  # 0 / 0, where all features are the same
        pca.fit(fitted_on)
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    missing = 2 - n_components
    plane = {name: np.pad(pca.transform(part), ((0, 0), (0, missing))) for name, part in parts.items()}
    return plane, np.pad(shares, (0, missing))
