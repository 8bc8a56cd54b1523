"""The judge of every figure: what is written there can be read."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from metarl.plotting.style import DPI


@pytest.fixture
def assert_legible() -> Callable[[Figure], None]:
    """Raises where a text leaves the figure, or covers another text or an image."""

    def check(figure: Figure) -> None:
        figure.set_dpi(DPI)  # at which it is saved: widths of letters are whole pixels
        FigureCanvasAgg(figure).draw()
        boxes: list[tuple[Any, Any]] = []
        for text in texts_of(figure):
            if text.get_text().strip() and text.get_visible():
                extent = text.get_window_extent()
                assert extent.x0 >= -1, text
                assert extent.y0 >= -1, text
                assert extent.x1 <= figure.bbox.x1 + 1, text
                assert extent.y1 <= figure.bbox.y1 + 1, text
                boxes.append((extent, text))
        boxes += [(image.get_window_extent(), image) for axes in figure.axes for image in axes.images]
        for (one, name), (other, other_name) in combinations(boxes, 2):
            across = min(one.x1, other.x1) - max(one.x0, other.x0)
            down = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(across, down) <= 1.5, (name, other_name)

    return check


def texts_of(figure: Figure) -> list[Text]:
    """Whatever is written in a figure; of ticks those within the limits."""
    found = []
    for each in (figure, *figure.subfigs):
        found += [each._suptitle] if each._suptitle is not None else []
        found += [text for legend in each.legends for text in legend.texts]
    for top in figure.axes:
        for axes in (top, *(child for child in top.child_axes if isinstance(child, Axes))):
            legend = axes.get_legend()
            found += [*axes.texts, axes._left_title, *(legend.texts if legend else ())]
            for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                low, high = sorted(limits)
                ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                found += [axis.label, *(label for tick in ticks for label in (tick.label1, tick.label2))]
    return found
