"""A small canvas in data coordinates, and the palette of all families' pictures.

Okabe and Ito's colours, which colour-blind readers can tell apart: blue is what the agent does, vermilion where the
reward is, green what marks a success; the rest is grey.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]  # red, green, blue, 0 to 255
Range = tuple[float, float]
History = Sequence[Mapping[str, NDArray[Any]]]  # the states of an episode so far, the newest last
Frame = NDArray[np.uint8]  # (height, width, 3)

PAPER, PANEL, RULE = (255, 255, 255), (246, 247, 249), (223, 226, 230)
INK, MUTED, FAINT = (34, 38, 43), (107, 114, 123), (178, 184, 191)
AGENT, PALE, GOAL, SUCCESS = (0, 114, 178), (190, 217, 236), (213, 94, 0), (0, 158, 115)

_SUPERSAMPLING = 3  # drawn three times as large, then averaged down: smooth edges


def blend(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour that lies ``share`` of the way from a to b."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


class Canvas:
    """A picture in data coordinates, y upwards, with strokes, radii and type sizes in pixels of the result."""

    def __init__(self, x: Range, y: Range, width: int = 400, height: int = 400, background: Colour = PAPER) -> None:
        self._scale = np.array([width / (x[1] - x[0]), height / (y[0] - y[1])]) * _SUPERSAMPLING
        self._origin = np.array([x[0], y[1]])
        self._size = (width, height)
        self._image = Image.new("RGB", (width * _SUPERSAMPLING, height * _SUPERSAMPLING), background)
        self._draw = ImageDraw.Draw(self._image, "RGBA")

    def line(self, points: ArrayLike, colour: Colour, width: float = 2.0, alpha: float = 1.0) -> None:
        """Draw a line through ``(n, 2)`` points."""
        self._draw.line(self._flat(points), (*colour, round(255 * alpha)), self._pixels(width), joint="curve")

    def trail(self, points: ArrayLike, width: float = 3.0, dots: float = 0.0) -> None:
        """Draw a trail through ``(n, 2)`` points, from pale to dark, with dots of radius ``dots`` if any."""
        way = np.asarray(points, dtype=np.float64)
        shades = [blend(PALE, AGENT, (i + 1) / max(1, len(way) - 1)) for i in range(len(way) - 1)]
        for start, end, shade in zip(way[:-1], way[1:], shades, strict=True):
            self.line([start, end], shade, width)
            self.disc(end, max(width / 2, dots), shade)

    def disc(
        self, centre: ArrayLike, radius: float, fill: Colour | None, edge: Colour | None = None, alpha: float = 1.0
    ) -> None:
        """Draw a disc, with an edge of 2 pixels if it has a colour; ``fill=None`` leaves a ring."""
        x, y = self._flat(centre)
        r = radius * _SUPERSAMPLING
        inside = None if fill is None else (*fill, round(255 * alpha))
        self._draw.ellipse((x - r, y - r, x + r, y + r), inside, edge, self._pixels(2) if edge else 0)

    def polygon(self, points: ArrayLike, fill: Colour, alpha: float = 1.0) -> None:
        """Draw a filled polygon with ``(n, 2)`` corners."""
        self._draw.polygon(self._flat(points), (*fill, round(255 * alpha)))

    def rectangle(
        self, low: ArrayLike, high: ArrayLike, fill: Colour | None, edge: Colour | None = None, rounded: float = 0.0
    ) -> None:
        """Draw a rectangle between two opposite corners; ``rounded`` is the radius of its corners."""
        (x0, y0), (x1, y1) = self._flat(low), self._flat(high)
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        self._draw.rounded_rectangle(box, rounded * _SUPERSAMPLING, fill, edge, self._pixels(2) if edge else 0)

    def arrow(self, start: ArrayLike, end: ArrayLike, colour: Colour, width: float = 3.0) -> None:
        """Draw an arrow whose tip is at ``end``."""
        a, b = np.array(self._flat(start)), np.array(self._flat(end))
        length = float(np.linalg.norm(b - a))
        if length == 0:
            return
        along = (b - a) / length
        head = min(3.2 * width * _SUPERSAMPLING, length)
        neck, across = b - along * head, np.array([-along[1], along[0]]) * head * 0.55
        self._draw.line([*a.tolist(), *neck.tolist()], colour, self._pixels(width))
        self._draw.polygon([*b.tolist(), *(neck + across).tolist(), *(neck - across).tolist()], colour)

    def text(self, at: ArrayLike, text: str, colour: Colour = MUTED, size: float = 13.0, anchor: str = "mm") -> None:
        """Write words at a point; ``anchor`` is Pillow's: first l, m or r, then a, m or s."""
        x, y = self._flat(at)
        self._draw.text((x, y), text, colour, _font(size * _SUPERSAMPLING), anchor=anchor)

    def caption(self, text: str) -> None:
        """Write words in the upper left corner."""
        self._draw.text((12 * _SUPERSAMPLING, 10 * _SUPERSAMPLING), text, MUTED, _font(13 * _SUPERSAMPLING))

    def array(self) -> Frame:
        """Return the picture, averaged down to its size."""
        return np.array(self._image.resize(self._size, Image.Resampling.BOX), dtype=np.uint8)

    def _flat(self, points: ArrayLike) -> list[float]:
        pixels = (np.asarray(points, dtype=np.float64) - self._origin) * self._scale
        return [float(value) for value in pixels.ravel()]

    @staticmethod
    def _pixels(width: float) -> int:
        return max(1, round(width * _SUPERSAMPLING))


def plane(half: float, spacing: float) -> Canvas:
    """Return an empty plane with coordinates in ± ``half``, ruled every ``spacing``, its axes a little darker."""
    canvas = Canvas((-half, half), (-half, half), background=PANEL)
    count = int(half / spacing)
    for i in range(-count, count + 1):
        colour, at = (FAINT, 0.0) if i == 0 else (RULE, i * spacing)
        canvas.line([(at, -half), (at, half)], colour, 1)
        canvas.line([(-half, at), (half, at)], colour, 1)
    return canvas


def travel(canvas: Canvas, way: NDArray[Any]) -> None:
    """Draw a point's way ``(n, 2)`` over a plane: where it started, its trail, and where it is."""
    canvas.disc(way[0], 5, PAPER, MUTED)
    canvas.trail(way, 2.5, dots=2.5)
    canvas.disc(way[-1], 7, AGENT, PAPER)


def annotate(picture: Frame, text: str) -> Frame:
    """Return a picture with words in its upper left corner, on a pale box so that they can be read on anything."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    font = _font(13)
    left, top, right, bottom = draw.multiline_textbbox((12, 10), text, font, spacing=4)
    draw.rounded_rectangle((left - 6, top - 5, right + 6, bottom + 5), 4, (*PAPER, 200))
    draw.multiline_text((12, 10), text, INK, font, spacing=4)
    return np.array(image, dtype=np.uint8)


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
