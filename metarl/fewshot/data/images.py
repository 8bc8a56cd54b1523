"""Pictures into classes: decoded, of one size, class by class."""

import io
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.episodes import Classes

# Those with which Pillow needs no help: it hands PostScript, for one, to another program.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)

Picture = tuple[str, Path | bytes | memoryview]
"""What a picture is called in messages, and its file or what such a file would hold."""


def in_folders(folder: Path) -> dict[str, list[Picture]]:
    """The pictures of ``folder/CLASS/`` by class, in the order of their names."""
    return {
        place.name: [(str(each), each) for each in sorted(place.iterdir()) if each.suffix.lower() in _SUFFIXES]
        for place in sorted(each for each in folder.iterdir() if each.is_dir())
    }


def of_pictures(pictures: Mapping[str, Sequence[Picture]], side: int, colour: bool, where: str) -> Classes:
    """Classes of pictures, ``(sample, 3, side, side)`` in colour, else ``(sample, side, side)``, in bytes.

    A picture that cannot be decoded is left out, as is a class that has none; a warning counts and names them. Raises
    where nothing remains, with ``where`` they should have been.
    """
    shape = (3, side, side) if colour else (side, side)
    # Laid out at once, for a list of them and then a stack would need the memory twice.
    samples = np.empty((sum(map(len, pictures.values())), *shape), np.uint8)
    counts, names, broken, filled = [], [], [], 0
    for name, each in pictures.items():
        first = filled
        for called, content in each:
            try:
                samples[filled] = _pixels(content, side, colour)
            except UNREADABLE:
                broken.append(called)
            else:
                filled += 1
        if filled > first:
            counts.append(filled - first)
            names.append(name)
    if broken:
        warnings.warn(f"{len(broken)} images cannot be read and are left out: {', '.join(broken[:5])}", stacklevel=3)
    if not filled:
        raise MetaRLError(f"{where} holds no class with an image; it should hold CLASS/*.png.")
    return Classes(torch.from_numpy(samples[:filled]), torch.tensor(counts), tuple(names), scale=1 / 255)


def of_rows(images: NDArray[np.uint8], rows: Mapping[str, NDArray[np.int64]], where: str) -> Classes:
    """Classes of images that are numbers already: ``(row, 3, height, width)``, and which rows are of which class.

    A class without a row is left out. Raises where they are no such images, a row is not there, or is of two.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise MetaRLError(f"{where} has images {images.shape} of {images.dtype}; bytes in three colours were expected.")
    wanted = [(name, each) for name, each in rows.items() if len(each)]
    all_rows = np.concatenate([each for _, each in wanted]) if wanted else np.zeros(0, np.int64)
    if not len(all_rows) or all_rows.min() < 0 or all_rows.max() >= len(images):
        raise MetaRLError(f"{where} has no rows, or some beyond its {len(images)} images; fetch it anew.")
    if len(np.unique(all_rows)) < len(all_rows):
        raise MetaRLError(f"{where} has an image that is of two classes, or twice of one; fetch it anew.")
    samples, filled = np.empty((len(all_rows), *images.shape[1:]), np.uint8), 0
    for _, each in wanted:  # class by class, so that no second copy of all of them is ever made
        samples[filled : filled + len(each)] = images[each]
        filled += len(each)
    counts = torch.tensor([len(each) for _, each in wanted])
    return Classes(torch.from_numpy(samples), counts, tuple(name for name, _ in wanted), scale=1 / 255)


def whole(classes: Classes, names: Sequence[str], each: int, where: str) -> Classes:
    """The classes, if all of those names are there; warns where one has other than so many pictures."""
    if missing := [name for name in names if name not in classes.names]:
        raise MetaRLError(
            f"{where} lacks {len(missing)} of its {len(names)} classes ({', '.join(missing[:5])}), or no picture of "
            "them can be read; figures on the others are not comparable, so unpack it anew."
        )
    if other := [f"{name}: {n}" for name, n in zip(classes.names, classes.counts.tolist(), strict=True) if n != each]:
        warnings.warn(
            f"{where}: {len(other)} classes have other than the {each} pictures published ({', '.join(other[:5])}).",
            stacklevel=4,
        )
    return classes


def _pixels(content: Path | bytes | memoryview, side: int, colour: bool) -> NDArray[np.uint8]:
    dataset = content if isinstance(content, Path) else io.BytesIO(content)
    with Image.open(dataset, formats=_FORMATS) as image:
        pixels = np.asarray(_plain(image, "RGB" if colour else "L").resize((side, side)), dtype=np.uint8)
    return pixels.transpose(2, 0, 1) if colour else pixels


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """Of 8 bits, what is transparent on white."""
    if image.mode.startswith(("I", "F")):  # more bits, which Pillow would cut off
        levels = np.asarray(image, dtype=np.float64)
        most = 65535 if image.mode.startswith("I;16") else max(float(levels.max()), 1.0)
        return Image.fromarray((levels * (255 / most)).clip(0, 255).astype(np.uint8)).convert(mode)
    if "A" in image.getbands() or "transparency" in image.info:
        drawn = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert(mode)
    return image.convert(mode)
