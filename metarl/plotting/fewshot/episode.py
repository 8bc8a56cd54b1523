"""A figure of an episode's images and of what is predicted of them."""

import re
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from metarl.evaluation.statistics import Array
from metarl.plotting.style import GOAL, GRID, INK, MUTED, PANEL, heading, new_figure, short

MOST_SHOTS, MOST_QUERIES = 10, 15  # of a class, that are shown
_CELL = 0.55  # inches, of an image and what is around it
_GAP, _APART = 0.12, 0.5  # of an image's width: around it, and between support and queries
_COUNT, _LEAST = 1.3, 8  # images' widths: of the count of those that are right, and of the whole row at least
_LINE, _LETTERS = 0.24, 12  # of what stands below a wrong one: a line's height, in the width of an image; its letters


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
    """Draw the images of an episode, a row for each class: its support, then its queries, those predicted wrong framed.

    Below a query that was predicted wrong stands what it was taken for; at the end of the row, how many of all the
    class's queries were right, the first ``MOST_QUERIES`` of which are shown.

    Args:
        support, queries: ``(n, height, width)``, or ``(n, 1 or 3, height, width)``; of any range.
        support_labels, query_labels, predicted: ``(n,)`` classes from 0 to ``len(names)`` - 1.
        names: of the classes.
        title: of the figure.
        subtitle: below it.
        ink: of grey images: whether great values are ink and drawn dark. Unless given, the rarer value is ink where
            there are two, as in Omniglot; other images are drawn as they are.
    """
    given, asked = _pictures(np.asarray(support, np.float64), np.asarray(queries, np.float64), ink)
    shown_as, true, guess = (np.asarray(labels) for labels in (support_labels, query_labels, predicted))
    way, (height, width) = len(names), given.shape[1:3]
    of_class = [np.flatnonzero(true == c) for c in range(way)]
    given_most, most = int(np.bincount(shown_as).max()), max(map(len, of_class))
    shots, columns = min(MOST_SHOTS, given_most), min(MOST_QUERIES, most)
    wrong = {int(guess[i]) for rows in of_class for i in rows[:columns] if guess[i] != true[i]}
    called = {c: _lines(names[c]) for c in wrong}
    tall = height / width
    pitch = tall + _GAP * 2 + _LINE * max(map(len, called.values()), default=0)
    second = shots * (1 + _GAP) + _APART
    across, down = second + columns * (1 + _GAP), way * pitch
    wide = max(across + _COUNT, _LEAST)
    figure = new_figure(_CELL * wide + 2.3, _CELL * down + 1.1)
    axes = figure.add_subplot()
    axes.set(xlim=(-_GAP, wide), ylim=(down, -_GAP), aspect="equal", anchor="W", autoscale_on=False)
    axes.spines[:].set_visible(False)
    axes.add_patch(Rectangle((-_GAP, -_GAP), shots * (1 + _GAP) + _GAP, down + _GAP, facecolor=PANEL, zorder=-1))
    shown = "support" if shots == given_most else f"support, {shots} of {given_most}"
    axes.set_xticks([0, second], [shown, "queries" if columns == most else f"{columns} of {most} queries"], ha="left")
    axes.tick_params("x", colors=MUTED, labelsize=9.5, top=True, labeltop=True, labelbottom=False)
    rows_at = np.arange(way) * pitch + tall / 2
    axes.set_yticks(rows_at, [short(name) for name in names], color=INK, fontsize=10)
    axes.tick_params(length=0)
    for c, rows in enumerate(of_class):
        y = c * pitch
        count = f"{(guess[rows] == c).sum()}/{len(rows)}"
        axes.text(across + _GAP, y + tall / 2, count, color=MUTED, fontsize=10, va="center")
        for i, row in enumerate(np.flatnonzero(shown_as == c)[:shots]):
            _draw(axes, given[row], i * (1 + _GAP), y, tall)
        for i, row in enumerate(rows[:columns]):
            x, right = second + i * (1 + _GAP), guess[row] == c
            _draw(axes, asked[row], x, y, tall, wrong=not right)
            if not right:
                words = "\n".join(called[int(guess[row])])
                axes.text(x + 0.5, y + tall + 0.05, words, color=GOAL, fontsize=5.5, ha="center", va="top")
    heading(figure, title, axes, subtitle + ", wrong ones framed" * bool(wrong))
    return figure


def _pictures(support: Array, queries: Array, ink: bool | None) -> tuple[Array, Array]:
    """Return both as ``(n, height, width)`` or ``(n, height, width, 3)``, from 0, black, to 1."""
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


def _lines(name: str) -> list[str]:
    """Return a name in at most three lines, broken after spaces, slashes and underscores."""
    words = re.sub(r"(?<=[/_-])", " ", name)
    return textwrap.wrap(words, _LETTERS, max_lines=3, placeholder="…")


def _draw(axes: Axes, image: Array, x: float, y: float, height: float, wrong: bool = False) -> None:
    """Draw an image of width 1 with its upper left corner there, framed; boldly where it is wrong."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(x, x + 1, y + height, y), interpolation="nearest")
    colour, line = (GOAL, 2.2) if wrong else (GRID, 0.8)
    axes.add_patch(Rectangle((x, y), 1, height, fill=False, edgecolor=colour, linewidth=line))
