"""Pictures of few-shot learning: here an episode's images and what is predicted of them, the others by import.

Every function takes arrays and returns a matplotlib ``Figure`` made without pyplot, hence without global state;
``save_figure`` writes it.
"""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from metarl.core.errors import MetaRLError
from metarl.plotting.fewshot.charts import comparison_figure, regression_figure, steps_figure
from metarl.plotting.fewshot.embedding import embedding_figure
from metarl.plotting.fewshot.layout import LONGEST, SUBTITLE, Array, class_labels, cut, numbers, sheet_of, text_width
from metarl.plotting.style import GOAL, GRID, INK, MUTED, PANEL, heading, save_figure

__all__ = [
    "comparison_figure",
    "embedding_figure",
    "episode_figure",
    "regression_figure",
    "save_figure",
    "steps_figure",
]

MOST_SHOTS, MOST_QUERIES = 10, 15  # of a class, that are shown
_GAP, _APART = 5, 18  # points: between two images, and around the support
_TOP, _LEAST = 20, 300  # points: for the names of columns, and the width that leaves a title legible
_NAME, _HEAD, _SMALL, _LINE = 10, 9.5, 6.3, 8  # points: of rows, of columns, of what is wrong; the last's lines


def episode_figure(
    support: ArrayLike,
    support_labels: ArrayLike,
    queries: ArrayLike,
    query_labels: ArrayLike,
    predicted: ArrayLike,
    names: Sequence[str],
    *,
    title: str,
    subtitle: str,
    ink: bool | None = None,
) -> Figure:
    """The images of an episode, a row for each class: its support, then its queries, those predicted wrong framed.

    Below a wrong one stands the class that it was taken for; at the end of the row, how many of all the class's queries
    were right, the first ``MOST_QUERIES`` of which are shown.

    Args:
        support, queries: ``(n, height, width)``, or ``(n, 1 or 3, height, width)``; of any range.
        support_labels, query_labels, predicted: ``(n,)`` classes from 0 to ``len(names)`` - 1.
        ink: of grey images: whether great values are ink and drawn dark. Unless given, the rarer value is ink where
            there are two, as in Omniglot; other images are drawn as they are.
    """
    given, asked = _pictures(numbers("support", support), numbers("queries", queries), ink)
    shown_as = class_labels("support_labels", support_labels, len(given), names)
    true, guess = (
        class_labels(name, labels, len(asked), names)
        for name, labels in (("query_labels", query_labels), ("predicted", predicted))
    )
    way, (height, width) = len(names), given.shape[1:3]
    of_class = [np.flatnonzero(true == c) for c in range(way)]
    given_most, most = int(np.bincount(shown_as).max()), max(map(len, of_class))
    shots, columns = min(MOST_SHOTS, given_most), min(MOST_QUERIES, most)
    cell = 38.0 if way <= 10 else 32.0
    tall = cell * height / width
    wrong = {int(guess[i]) for rows in of_class for i in rows[:columns] if guess[i] != true[i]}
    called = {c: _lines(names[c], cell + 3, _SMALL) for c in wrong}
    pitch = tall + 8 + _LINE * max(map(len, called.values()), default=0)
    titles = [cut(name, LONGEST, _NAME) for name in names]
    heads = (
        "support" if shots == given_most else f"support, {shots} of {given_most}",
        ("queries" if columns == most else f"{columns} of {most} queries") + (", framed where wrong" if wrong else ""),
        "right",
    )
    first = max(text_width(name, _NAME) for name in titles) + _APART
    second = first + max(shots * (cell + _GAP) - _GAP, text_width(heads[0], _HEAD)) + _APART
    last = second + max(columns * (cell + _GAP), text_width(heads[1], _HEAD)) + 6
    across = max(
        last + text_width("right", _HEAD),
        last + text_width(f"{most}/{most}", _NAME),
        text_width(subtitle, SUBTITLE),
        _LEAST,
    )
    down = _TOP + way * pitch
    figure, axes = sheet_of(across, down)
    heading(axes, title, subtitle)
    axes.add_patch(Rectangle((first - 7, 0), second - first - _APART + 14, down, facecolor=PANEL, zorder=-1))
    for x, head in zip((first, second, last), heads, strict=True):
        axes.text(x, _TOP - 7, head, color=MUTED, fontsize=_HEAD)
    for c, rows in enumerate(of_class):
        y = _TOP + c * pitch
        axes.text(0, y + tall / 2, titles[c], color=INK, fontsize=_NAME, va="center")
        for i, row in enumerate(np.flatnonzero(shown_as == c)[:shots]):
            _draw(axes, given[row], first + i * (cell + _GAP), y, cell, tall)
        for i, row in enumerate(rows[:columns]):
            x, right = second + i * (cell + _GAP), guess[row] == c
            _draw(axes, asked[row], x, y, cell, tall, wrong=not right)
            for k, line in enumerate(() if right else called[int(guess[row])]):
                below = y + tall + 3 + k * _LINE
                axes.text(x + cell / 2, below, line, color=GOAL, fontsize=_SMALL, ha="center", va="top")
        if len(rows):
            share = f"{(guess[rows] == c).sum()}/{len(rows)}"
            axes.text(last, y + tall / 2, share, color=MUTED, fontsize=_NAME, va="center")
    return figure


def _pictures(support: Array, queries: Array, ink: bool | None) -> tuple[Array, Array]:
    """Both as ``(n, height, width)`` or ``(n, height, width, 3)``, from 0, black, to 1."""
    if support.ndim not in (3, 4) or 0 in support.shape or 0 in queries.shape or support.shape[1:] != queries.shape[1:]:
        raise MetaRLError(
            f"A support of shape {support.shape} and queries of shape {queries.shape}; give images of one size, "
            "(n, height, width) or (n, channels, height, width), at least one of each."
        )
    if support.ndim == 4 and support.shape[1] not in (1, 3):
        raise MetaRLError(f"Images of {support.shape[1]} channels; 1, grey, or 3, colours, can be shown.")
    images = np.concatenate([support, queries])
    if images.ndim == 4:
        images = np.moveaxis(images, 1, -1)
    if images.shape[3:] == (1,):
        images = images[..., 0]
    low, high = images.min(), images.max()
    images = (images - low) / ((high - low) or 1.0)
    if images.ndim == 3:
        if ink is None:
            ink = bool(np.isin(images, (0, 1)).all() and images.mean() < 0.5)
        images = 1 - images if ink else images
    return images[: len(support)], images[len(support) :]


def _draw(axes: Axes, image: Array, x: float, y: float, width: float, height: float, wrong: bool = False) -> None:
    """An image with its upper left corner there, framed; boldly where it is wrong."""
    extent = (x, x + width, y + height, y)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="nearest")
    colour, line = (GOAL, 2.2) if wrong else (GRID, 0.8)
    axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=line))


def _lines(name: str, room: float, size: float) -> list[str]:
    """A name in at most three lines of so many points, broken after spaces, slashes and the like."""
    lines: list[str] = []
    for word in re.split(r"(?<=[\s/_-])", name):
        if lines and text_width(lines[-1] + word.rstrip(), size) <= room:
            lines[-1] += word
        else:
            lines.append(word)
    if len(lines) > 3:
        lines[1:-1] = ["…"]
    return [cut(line.strip(), room, size) for line in lines]
