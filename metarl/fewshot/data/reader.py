"""Read classes of images from folders, archives and arrays, and fetch files, trusting nothing that a file says."""

import hashlib
import http.client
import os
import struct
import unicodedata
import urllib.request
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from metarl.core.errors import MetaRLError
from metarl.core.files import cache_folder, write_atomic
from metarl.fewshot.data.episodes import Classes

# Those that Pillow decodes itself: it hands PostScript, for one, to another program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
_NAMED = 5  # in one warning
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, KeyError, TypeError, EOFError, NotImplementedError),
    *(struct.error, zlib.error, zipfile.BadZipFile, Image.DecompressionBombError),
)
"""What reading a damaged image or archive can raise."""


def folders(name: str) -> list[Path]:
    """Return where the files of a data set may lie: below ``METARL_DATA``, and in the cache, the last."""
    cache = cache_folder() / name
    given = os.environ.get("METARL_DATA")
    return [Path(given) / name, cache] if given else [cache]


def file_of(name: str, file: str, address: str, md5: str | None = None) -> Path:
    """Return a file of a data set from one of its ``folders``, or fetch it once into the cache.

    Raises:
        MetaRLError: where the address cannot be reached or breaks off, or the content has not the checksum ``md5``.
    """
    what_to_do = f"Put {file} in {folders(name)[0]}, or set METARL_DATA to the folder that holds {name}/."
    places = [folder / file for folder in folders(name)]
    path = next((place for place in places if place.is_file()), None)
    try:
        # Both can break off, which is an HTTPException for an address.
        with path.open("rb") if path else urllib.request.urlopen(address, timeout=60) as opened:
            content: bytes = opened.read()
    except (OSError, http.client.HTTPException) as error:
        raise MetaRLError(f"{path or address} cannot be reached ({error}). {what_to_do}") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 not in (None, found):
        raise MetaRLError(
            f"What {path or address} gave, {len(content):,} bytes, is partial or damaged: its MD5 is {found}, and "
            f"{md5} was expected. Delete it or try again later. {what_to_do}"
        )
    if path is None:
        path = places[-1]
        write_atomic(path, content)
    return path


def checked_members(archive: zipfile.ZipFile, suffix: str, most: int) -> list[str]:
    """Return the sorted names of a zip archive's members that end so.

    Raises ``BadZipFile`` where one is encrypted or says that it has more than ``most`` bytes; no more than it says is
    ever read of it.
    """
    chosen = sorted((each for each in archive.infolist() if each.filename.endswith(suffix)), key=lambda i: i.filename)
    for each in chosen:
        if each.flag_bits & 1:
            raise zipfile.BadZipFile(f"{each.filename} is encrypted")
        if each.file_size > most:
            raise zipfile.BadZipFile(f"{each.filename} has {each.file_size:,} bytes; {most:,} at most were expected")
    return [each.filename for each in chosen]


def load_npz(path: Path, names: Sequence[str], most: int) -> list[NDArray[Any]]:
    """Return the named arrays of an ``.npz`` file of plain numbers and words, none of more than ``most`` bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            checked_members(archive, ".npy", most)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:  # NumPy leaves a damaged one open
            return [content[name] for name in names]
    except UNREADABLE as error:
        raise MetaRLError(f"{path} is damaged ({error}); delete it, and fetch or make it anew.") from error


def images_in(folder: Path) -> dict[str, list[Path]]:
    """Return the images of ``folder/CLASS/`` by class, in the order of their names."""
    return {
        place.name: [each for each in sorted(place.iterdir()) if each.suffix.lower() in _SUFFIXES]
        for place in sorted(each for each in folder.iterdir() if each.is_dir())
    }


def pixels(content: Path | IO[bytes], shape: tuple[int, int], mode: str, most: int | None = None) -> NDArray[np.uint8]:
    """Return an image as bytes of ``shape`` (height, width), or as ``(3, height, width)`` where ``mode`` is ``RGB``.

    ``L`` is grey; ``1`` is of one bit, only of PNG files, which Pillow resizes to the nearest pixel whatever it is
    asked. Raises one of ``UNREADABLE``, also for an image with a side of more than ``most`` pixels.
    """
    with Image.open(content, formats=FORMATS[:1] if mode == "1" else FORMATS) as image:
        if most is not None and max(image.size) > most:
            raise OSError(f"it has {image.width} × {image.height} pixels")
        values = np.asarray(_flattened(image, mode).resize(shape[::-1]), dtype=np.uint8)
    return values.transpose(2, 0, 1) if mode == "RGB" else values


def _flattened(image: Image.Image, mode: str) -> Image.Image:
    """Convert to 8 bits or one, alpha composited on white."""
    if image.mode.startswith(("I", "F")):  # more bits, which Pillow would cut off
        levels = np.asarray(image, dtype=np.float64)
        most = 65535 if image.mode.startswith("I;16") else max(float(levels.max()), 1.0)
        return Image.fromarray((levels * (255 / most)).clip(0, 255).astype(np.uint8)).convert(mode)
    if "A" in image.getbands() or "transparency" in image.info:
        drawn = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert(mode)
    return image.convert(mode)


def classes_of_images(images: Mapping[str, Sequence[Path]], size: tuple[int, int], mode: str, where: str) -> Classes:
    """Decode images by class to samples ``(3, height, width)``, or ``(height, width)`` where ``mode`` is ``L``.

    An image that cannot be decoded is left out, as is a class that has none; a warning counts and names them. Raises
    where nothing remains, with ``where`` they should have been.
    """
    shape = (3, *size) if mode == "RGB" else size
    # Laid out at once, for a list of them and then a stack would need the memory twice.
    samples = np.empty((sum(map(len, images.values())), *shape), np.uint8)
    counts, broken, filled = dict[str, int](), list[str](), 0
    for name, paths in images.items():
        for path in paths:
            try:
                samples[filled] = pixels(path, size, mode)
            except UNREADABLE:
                broken.append(str(path))
            else:
                filled, counts[name] = filled + 1, counts.get(name, 0) + 1
    if broken:
        named = ", ".join(broken[:_NAMED])
        warnings.warn(f"{len(broken)} images cannot be read and are left out: {named}", stacklevel=3)
    if not filled:
        raise MetaRLError(f"{where} holds no class with an image; it should hold CLASS/*.png.")
    return Classes(torch.from_numpy(samples[:filled]), torch.tensor(list(counts.values())), tuple(counts), 1 / 255)


def classes_of_rows(samples: NDArray[Any], rows: Mapping[str, NDArray[np.int64]], scale: float = 1 / 255) -> Classes:
    """Return the classes of samples ``(n, *shape)``, given which rows are of which class."""
    kept, filled = np.empty((sum(map(len, rows.values())), *samples.shape[1:]), samples.dtype), 0
    for each in rows.values():  # class by class, so that no second copy of all of them is ever made
        kept[filled : filled + len(each)] = samples[each]
        filled += len(each)
    return Classes(torch.from_numpy(kept), torch.tensor(list(map(len, rows.values()))), tuple(rows), scale)


def warn_of_doubles(splits: Mapping[str, Mapping[str, Sequence[Path]]]) -> None:
    """Warn of classes whose names differ only in case or spaces, and of files that are in two classes.

    Args:
        splits: split -> class -> its images.
    """
    alike, same = dict[str, list[str]](), dict[bytes, dict[str, str]]()
    for split, classes in splits.items():
        for name, paths in classes.items():
            alike.setdefault(unicodedata.normalize("NFKC", name).casefold().strip(), []).append(f"{split}/{name}")
            for path in paths:
                if path.is_file() and os.access(path, os.R_OK):  # of others it is told that they cannot be decoded
                    digest = hashlib.sha256(path.read_bytes()).digest()
                    same.setdefault(digest, {}).setdefault(f"{split}/{name}", str(path))
    _warn("classes have names that differ only in case or spaces; are they one?", alike.values())
    _warn("images are in more than one class; leave each in one:", [list(each.values()) for each in same.values()])


def _warn(what: str, groups: Iterable[Sequence[str]]) -> None:
    doubles = [" = ".join(group) for group in groups if len(group) > 1]
    if doubles:
        more = " ..." if len(doubles) > _NAMED else ""
        warnings.warn(f"{len(doubles)} {what} {', '.join(doubles[:_NAMED])}{more}", stacklevel=4)
