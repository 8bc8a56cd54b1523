"""A picture of an episode's features in the plane."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA

from metarl.core.errors import MetaRLError
from metarl.plotting.fewshot.layout import (
    LONGEST,
    SUBTITLE,
    Array,
    class_labels,
    cut,
    numbers,
    panel,
    sheet_of,
    text_width,
)
from metarl.plotting.style import AGENTS, INK, MUTED, PANEL, agent_colours, heading

MARKERS = "osD^"  # of classes whose colours repeat
_SIDE, _ENTRIES, _NAME = 380, 23, 10  # points: the plane's; lines of the legend beside it, and their size
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
    """An episode's features in the plane of their two principal components, coloured by their true class.

    The components are those of support and queries together. Both axes have the same scale, so distances can be seen.

    Args:
        support, queries: ``(n, d)``.
        support_labels, query_labels: ``(n,)`` classes from 0 to ``len(names)`` - 1.
        prototypes: ``(len(names), d)``, of learners that have them.
    """
    parts = {"support": numbers("support", support), "queries": numbers("queries", queries)}
    if prototypes is not None:
        parts["prototypes"] = numbers("prototypes", prototypes)
    if len({part.shape[1:] for part in parts.values()}) > 1 or parts["queries"].ndim != 2 or not parts["queries"].size:
        shapes = ", ".join(f"{name} {part.shape}" for name, part in parts.items())
        raise MetaRLError(f"Features of shapes {shapes}; give (n, d) each, with the same d.")
    if prototypes is not None and len(parts["prototypes"]) != len(names):
        raise MetaRLError(f"{len(parts['prototypes'])} prototypes of {len(names)} classes; give one for each.")
    labels = {
        "queries": class_labels("query_labels", query_labels, len(parts["queries"]), names),
        "support": class_labels("support_labels", support_labels, len(parts["support"]), names),
        "prototypes": np.arange(len(names)),
    }
    places, shares = _plane(parts)
    titles = [cut(name, LONGEST, _NAME) for name in names]
    kinds = [kind for kind in _SIZES if kind in parts]
    column = 36 + max(text_width(text, _NAME) for text in (*titles, *kinds))
    beside = 10 + column * -(-(len(titles) + len(kinds)) // _ENTRIES)
    figure, sheet = sheet_of(max(_SIDE + beside, text_width(subtitle, SUBTITLE)), _SIDE + 18)
    heading(sheet, title, subtitle)
    axes = panel(sheet, 0, 0, _SIDE, _SIDE)
    axes.set(xticks=[], yticks=[], facecolor=PANEL, aspect="equal", adjustable="datalim")
    axes.spines[:].set_visible(False)
    colours = agent_colours(len(names))
    markers = [MARKERS[c // len(AGENTS) % len(MARKERS)] for c in range(len(names))]
    for kind in kinds:
        for c in np.unique(labels[kind]):
            _mark(axes, places[kind][labels[kind] == c], kind, colours[c], markers[c])
    axes.margins(0.06)
    held = " and ".join(f"{share:.0%}" for share in shares)
    sheet.text(0, _SIDE + 15, f"two principal components, with {held} of the variance", color=MUTED, fontsize=SUBTITLE)
    entries = [(kind, kind, MUTED, "o") for kind in kinds]
    entries += [(name, "", colour, marker) for name, colour, marker in zip(titles, colours, markers, strict=True)]
    for i, (text, kind, colour, marker) in enumerate(entries):
        x, y = _SIDE + 22 + i // _ENTRIES * column, 10 + i % _ENTRIES * (_SIDE - 20) / (_ENTRIES - 1)
        _mark(sheet, np.array([[x, y]]), kind, colour, marker)
        sheet.text(x + 12, y, text, color=INK, fontsize=_NAME, va="center_baseline")
    return figure


def _mark(axes: Axes, places: Array, kind: str, colour: str, marker: str) -> None:
    """Small queries, outlined support, prototypes with a cross; the latter two above the others."""
    outline = INK if kind == "support" else "white"
    x, y = places.T
    axes.scatter(
        x, y, _SIZES.get(kind, 44), color=colour, marker=marker, label=kind,
        edgecolors=outline, linewidths=_OUTLINES.get(kind, 0.4),
    )  # fmt: skip
    if kind == "prototypes":
        axes.scatter(x, y, 20, color="white", marker="x", linewidths=1.4)


def _plane(parts: dict[str, Array]) -> tuple[dict[str, Array], Array]:
    """Each part in the plane, ``(n, 2)``, and the share of the variance that its two axes hold."""
    fitted_on = np.concatenate([parts["support"], parts["queries"]])
    n_components = min(2, *fitted_on.shape)
    pca = PCA(n_components, svd_solver="full")
    with np.errstate(invalid="ignore"):  # 0 / 0, where all features are the same
        pca.fit(fitted_on)
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    missing = 2 - n_components
    places = {name: np.pad(pca.transform(part), ((0, 0), (0, missing))) for name, part in parts.items()}
    return places, np.pad(shares, (0, missing))
