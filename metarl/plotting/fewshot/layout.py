"""What the pictures share: arrays that are checked, text that fits, and a sheet measured in points."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from numpy.typing import ArrayLike, NDArray

from metarl.core.errors import MetaRLError

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

_TITLES, _EDGE = 62, 18  # points: above the axes for title and subtitle, and left free at the other sides
SUBTITLE = 10.5  # points: the size that ``heading`` writes it in
LONGEST = 150  # points, of a class's name


def numbers(name: str, values: ArrayLike) -> Array:
    """Finite numbers; raises for anything else."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MetaRLError(f"{name}: no array of numbers ({error}); give one, without gradients, on the CPU.") from error
    if not np.isfinite(array).all():
        raise MetaRLError(
            f"{name} of shape {array.shape}: {(~np.isfinite(array)).sum()} are NaN or infinite; give finite ones."
        )
    return array


def class_labels(name: str, labels: ArrayLike, n: int, names: Sequence[str]) -> Labels:
    """Classes ``(n,)`` of those that have a name; raises for anything else."""
    given = numbers(name, labels)
    if given.shape != (n,):
        raise MetaRLError(f"{name} has shape {given.shape}; {n} samples have labels ({n},).")
    whole = given.astype(np.int64)
    outside = given[(whole != given) | (whole < 0) | (whole >= len(names))]
    if len(outside):
        raise MetaRLError(f"{name} holds {outside[0]:g}; {len(names)} names are given, for 0 to {len(names) - 1}.")
    return whole


def sheet_of(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure around so many points of drawing, and axes whose unit is the point, from the upper left corner."""
    across, down = width + 2 * _EDGE, height + _TITLES + _EDGE
    figure = Figure(figsize=(across / 72, down / 72))
    axes = figure.add_axes((_EDGE / across, _EDGE / down, width / across, height / down))
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    return figure, axes


def panel(sheet: Axes, x: float, y: float, width: float, height: float) -> Axes:
    """Axes on a sheet, their upper left corner there."""
    across, down = sheet.get_xlim()[1], sheet.get_ylim()[0]
    return sheet.inset_axes((x / across, 1 - (y + height) / down, width / across, height / down))


def text_width(text: str, size: float) -> float:
    """How many points a line takes."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)[0])


def cut(text: str, room: float, size: float) -> str:
    """A text, or as much of its two ends as so many points hold."""
    short, kept = text, len(text)
    while kept > 2 and text_width(short, size) > room:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return short
