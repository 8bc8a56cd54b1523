"""Pictures of several environments side by side, and videos of them."""

import math
import os
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic

Frame = NDArray[np.uint8]
SUFFIXES = (".gif", ".mp4")
_GAP = 4  # pixels between pictures
_HEAD = 32  # pixels of a line above them
_SHORTEST = 2  # hundredths of a second that a GIF shows a picture for: browsers slow down what is faster
_NARROWEST = 300  # pixels: a picture is not made smaller than half of that to fit into fewer bytes
_PALETTE_FROM = 8  # pictures that a GIF's colours are chosen from


def grid(frames: Sequence[Frame], columns: int | None = None) -> Frame:
    """Put several pictures of the same size into one, row by row, as ``render`` of a vector environment does.

    ``columns`` is as near to a square as their number allows unless given; what is left of the last row is white.
    """
    if not frames:
        raise MetaRLError("grid() of no pictures; give at least one.")
    sizes = {np.shape(frame) for frame in frames}
    if len(sizes) > 1 or len(np.shape(frames[0])) != 3:
        raise MetaRLError(f"grid() takes pictures (height, width, 3) of one size, got {sorted(sizes)}; give it those.")
    across = math.ceil(math.sqrt(len(frames))) if columns is None else columns
    if across < 1:
        raise MetaRLError(f"columns={columns}: a grid has at least one.")
    height, width, _ = np.shape(frames[0])
    down = -(-len(frames) // across)
    tiled = np.full((down * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for i, frame in enumerate(frames):
        top, left = i // across * (height + _GAP), i % across * (width + _GAP)
        tiled[top : top + height, left : left + width] = frame
    return tiled


def headed(frame: Frame, words: str) -> Frame:
    """Put a line of words above a picture."""
    strip = Image.new("RGB", (frame.shape[1], _HEAD), (255, 255, 255))
    ImageDraw.Draw(strip).text((12, _HEAD / 2), words, (34, 38, 43), ImageFont.load_default(15), anchor="lm")
    return np.concatenate([np.array(strip, dtype=np.uint8), frame])


def save_video(path: str | os.PathLike[str], frames: Sequence[Frame], fps: float) -> None:
    """Write a ``.gif`` or an ``.mp4`` of pictures of one size, in real time where ``fps`` is ``family.render_fps``.

    The file is there whole or not at all. MP4 needs the extra ``video``.
    """
    suffix = check_video(path)
    if not len(frames):
        raise MetaRLError(f"{path}: a video of no pictures; give at least one.")
    if not 0 < fps < math.inf:
        raise MetaRLError(f"{path}: fps={fps}; give the pictures a second, such as family.render_fps.")
    write_atomic(path, _gif(frames, fps) if suffix == ".gif" else _mp4(frames, fps))


def encoded_within(most: int, frames: Sequence[Frame], fps: float) -> tuple[bytes, str]:
    """Return a film of at most so many bytes, and its suffix: pictures get smaller, then fewer, until it fits.

    It is an MP4 where that can be written here, else a GIF.
    """
    try:
        suffix = check_video("film.mp4")
    except MetaRLError:
        suffix = ".gif"
    encode, width = _mp4 if suffix == ".mp4" else _gif, frames[0].shape[1]
    content = encode(frames, fps)
    while len(content) > most and len(frames) > 2:
        if width > _NARROWEST:
            width //= 2
        else:
            frames, fps = frames[::2], fps / 2
        content = encode([_narrowed(frame, width) for frame in frames], fps)
    return content, suffix


def _narrowed(frame: Frame, width: int) -> Frame:
    size = width, max(1, round(frame.shape[0] * width / frame.shape[1]))
    return np.array(Image.fromarray(frame).resize(size, Image.Resampling.BOX), dtype=np.uint8)


def check_video(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a video's path; raises where no such video can be written here."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise MetaRLError(f"{path}: the suffix is none of {', '.join(SUFFIXES)}; name the video by one.")
    if suffix == ".mp4":
        _ffmpeg()
    return suffix


def _gif(frames: Sequence[Frame], fps: float) -> bytes:
    """Encode a GIF with one palette for all pictures, so that what does not move does not flicker either."""
    chosen = [frames[i] for i in sorted(set(np.linspace(0, len(frames) - 1, _PALETTE_FROM).astype(int)))]
    palette = Image.fromarray(np.concatenate(chosen)).quantize(256, dither=Image.Dither.NONE)
    shown, durations = _timed(len(frames), fps)
    images = [Image.fromarray(frames[i]).quantize(palette=palette, dither=Image.Dither.NONE) for i in shown]
    content = BytesIO()
    milliseconds = [10 * duration for duration in durations]
    images[0].save(content, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0)
    return content.getvalue()


def _timed(n: int, fps: float) -> tuple[list[int], list[int]]:
    """Return which pictures a GIF shows, and for how many hundredths of a second: some are left out, none slowed."""
    step = Fraction(100) / Fraction(fps)
    starts = [round(i * step) for i in range(n)]
    shown = [0]
    for i in range(1, n):
        if starts[i] - starts[shown[-1]] >= _SHORTEST:
            shown.append(i)
    ends = [*(starts[i] for i in shown[1:]), max(round(n * step), starts[shown[-1]] + _SHORTEST)]
    return shown, [end - starts[i] for i, end in zip(shown, ends, strict=True)]


def _mp4(frames: Sequence[Frame], fps: float) -> bytes:
    # H.264 with its usual colours wants even sides.
    height, width, _ = np.shape(frames[0])
    even = np.pad(np.stack(frames), ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    content = BytesIO()
    settings: dict[str, Any] = {"codec": "libx264", "quality": 8, "macro_block_size": 1}
    _ffmpeg().mimwrite(content, even, format="mp4", fps=fps, **settings)
    return content.getvalue()


def _ffmpeg() -> Any:
    try:
        import imageio.v2
        import imageio_ffmpeg  # noqa: F401 - imageio writes MP4 with it
    except ImportError as error:
        raise MetaRLError(
            f"MP4 needs imageio with ffmpeg ({error}): pip install 'metarl-suite[video]', or write a .gif."
        ) from error
    return imageio.v2
