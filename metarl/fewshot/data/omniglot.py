"""Omniglot (Lake et al. 2015): 1,623 characters by 20 people each, in the split of Vinyals et al. 2016.

Every rotation by 90° is a class of its own: 4,112 to train on, 688 to choose by, 1,692 to test on. The pictures are
28 × 28, ink 1. They are resized to the nearest pixel, as published results most likely were, for Pillow resizes
pictures of 1 bit so whatever it is asked.
"""

import io
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.fewshot.data.download import cache, data, fetch
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.images import UNREADABLE
from metarl.fewshot.data.zips import checked_members

_NAME = "omniglot"  # of its folder
_ARCHIVES = {"images_background": 964, "images_evaluation": 659}  # and how many characters each holds
_IMAGES = "https://github.com/brendenlake/omniglot/raw/master/python/{}.zip"
_SPLITS = "https://raw.githubusercontent.com/jakesnell/prototypical-networks/master/data/omniglot/splits/vinyals/{}.txt"
_MD5 = {
    "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
}
_DRAWERS, _SIDE = 20, 28
_MOST_BYTES, _MOST_PIXELS = 2**16, 1000  # of a picture and of its side: the official ones have 522 and 105
_MOST_PACKED = 2**26  # bytes of an array: 3 MB are needed
_CLASS = re.compile(r"(.+/character\d+)/rot(000|090|180|270)")
_PACKED = "omniglot_28_nearest.npz"


def omniglot_parts() -> dict[str, Classes]:
    """The classes of each part, from ``METARL_DATA/omniglot``, or downloaded once into ``~/.cache/metarl``."""
    images = _characters()
    parts = {}
    for part in ("train", "val", "test"):
        names = tuple(_file(f"splits_vinyals/{part}.txt", _SPLITS.format(part)).read_text().split())
        rows = []
        for name in names:
            match = _CLASS.fullmatch(name)
            if match is None or match[1] not in images:
                raise MetaRLError(
                    f"Omniglot's split {part} names {name!r}, which the pictures do not hold; fetch both anew."
                )
            rows.append(np.rot90(images[match[1]], int(match[2]) // 90, axes=(1, 2)))
        samples = torch.from_numpy(np.stack(rows)).flatten(0, 1)
        parts[part] = Classes(samples, torch.full((len(names),), _DRAWERS), names)
    return parts


def _characters() -> dict[str, NDArray[np.uint8]]:
    """Alphabet/characterNN -> ``(20, 28, 28)``."""
    packed = data(_NAME) / _PACKED
    if not packed.is_file():
        packed = cache(_NAME) / _PACKED
    if not packed.is_file():
        archives = {name: _file(f"{name}.zip", _IMAGES.format(name)) for name in _ARCHIVES}
        _pack({name: read_archive(path, _ARCHIVES[name]) for name, path in archives.items()}, packed)
    try:
        with zipfile.ZipFile(packed) as archive:
            checked_members(archive, ".npy", _MOST_PACKED)
        with np.load(packed) as content:
            bits, shape, names = content["bits"], tuple(content["shape"]), content["classes"]
            pictures = np.unpackbits(bits)[: int(np.prod(shape))].reshape(shape)
    except (*UNREADABLE, KeyError, TypeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise MetaRLError(f"{packed} is damaged ({error}); delete it, and it is made anew.") from error
    return {str(name).partition("/")[2]: picture for name, picture in zip(names, pictures, strict=True)}


def read_archive(path: Path, characters: int) -> dict[str, NDArray[np.uint8]]:
    """Pictures by ``archive/Alphabet/characterNN`` of one of the official archives; refused unless it is whole."""
    found: dict[str, list[NDArray[np.uint8]]] = {}
    try:
        with (
            zipfile.ZipFile(path) as archive,
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
        ):
            for name in checked_members(archive, ".png", _MOST_BYTES):
                with Image.open(io.BytesIO(archive.read(name)), formats=("PNG",)) as image:
                    if max(image.size) > _MOST_PIXELS:
                        raise OSError(f"{name} has {image.width} × {image.height} pixels")
                    ink = 1 - np.asarray(image.convert("1").resize((_SIDE, _SIDE), Image.Resampling.NEAREST))
                found.setdefault(name.rpartition("/")[0], []).append(ink.astype(np.uint8))
    except (*UNREADABLE, zipfile.BadZipFile, NotImplementedError) as error:  # the last: of another compression
        raise MetaRLError(f"{path} is damaged ({error}); delete it, and it is fetched anew.") from error
    partial = [name for name, pictures in found.items() if len(pictures) != _DRAWERS]
    if len(found) != characters or partial:
        raise MetaRLError(
            f"{path} holds {len(found)} characters, {len(partial)} of them with other than {_DRAWERS} drawings; "
            f"{characters} whole ones were expected. Delete it, and it is fetched anew."
        )
    return {name: np.stack(pictures) for name, pictures in found.items()}


def _pack(archives: dict[str, dict[str, NDArray[np.uint8]]], path: Path) -> None:
    characters = {name: pictures for archive in archives.values() for name, pictures in archive.items()}
    pictures, content = np.stack(list(characters.values())), io.BytesIO()
    np.savez(content, bits=np.packbits(pictures), shape=np.array(pictures.shape), classes=np.array(list(characters)))
    write_atomic(path, content.getvalue())


def _file(name: str, address: str) -> Path:
    """A file of the data, fetched if it is nowhere; refused where it is not what it should be."""
    for place in (data(_NAME) / name, cache(_NAME) / name):
        if place.is_file():
            return place
    what_to_do = f"Put {name} in {data(_NAME)}, or set METARL_DATA to the folder that holds {_NAME}/."
    return fetch(address, cache(_NAME) / name, _MD5.get(name), what_to_do)
