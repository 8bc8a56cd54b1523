"""Where few-shot tasks come from: classes to train on, to choose by and to test on, and none in two of them."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from metarl.errors import MetaRLError
from metarl.fewshot.episodes import Classes
from metarl.fewshot.omniglot import omniglot_parts
from metarl.fewshot.strokes import stroke_classes

PARTS = ("train", "val", "test")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}


@dataclass(frozen=True)
class Source:
    """Classes in parts. Raises where a class is in two of them, for a test class is never seen in training."""

    name: str
    parts: dict[str, Classes]

    def __post_init__(self) -> None:
        if unknown := set(self.parts) - set(PARTS):
            raise MetaRLError(f"{self.name} has parts {sorted(unknown)}; there are {', '.join(PARTS)}.")
        seen: dict[str, str] = {}
        for part, classes in self.parts.items():
            for name in classes.names:
                if name in seen:
                    raise MetaRLError(f"{self.name}: class {name!r} is in {seen[name]} and in {part}; leave it in one.")
                seen[name] = part
        shapes = {classes.shape for classes in self.parts.values()}
        if len(shapes) > 1:
            raise MetaRLError(f"{self.name}: samples of different shapes {sorted(shapes)}; make them alike.")

    def part(self, name: str) -> Classes:
        """The classes of a part."""
        if name not in self.parts:
            raise MetaRLError(f"{self.name} has no part {name!r}, but {', '.join(self.parts)}.")
        return self.parts[name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return next(iter(self.parts.values())).shape


def make_source(name: str) -> Source:
    """A source by its name, ``omniglot`` or ``strokes``, or ``folder:PATH`` of your own images."""
    if name.startswith("folder:"):
        return image_folder(Path(name.removeprefix("folder:")))
    if name not in _SOURCES:
        raise MetaRLError(f"Source {name!r} is unknown; known are {', '.join(_SOURCES)} and folder:PATH.")
    return Source(name, _SOURCES[name]())


def strokes() -> dict[str, Classes]:
    """Invented characters, which need no file: 400 classes to train on, 50 to choose by, 100 to test on."""
    images = stroke_classes(550, 20)
    names = tuple(f"character {i}" for i in range(len(images)))
    bounds = {"train": (0, 400), "val": (400, 450), "test": (450, 550)}
    return {part: of_arrays(images[low:high], names[low:high]) for part, (low, high) in bounds.items()}


def of_arrays(samples: NDArray[np.uint8], names: tuple[str, ...], scale: float = 1.0) -> Classes:
    """Classes of as many samples each, ``(class, sample, *shape)``."""
    flat = torch.from_numpy(np.ascontiguousarray(samples)).flatten(0, 1)
    return Classes(flat, torch.full((len(samples),), samples.shape[1]), names, scale)


def image_folder(path: Path, side: int = 28) -> Source:
    """Your own images: ``path/train/CLASS/*.png`` and ``path/test/CLASS/*.png``, ``val`` if there is one.

    They are made grey and ``side`` × ``side``. An image that cannot be read is left out with a warning.
    """
    if not path.is_dir():
        raise MetaRLError(f"There is no folder {path}; it should hold train/CLASS/ and test/CLASS/ with images.")
    parts = {part: _classes_in(path / part, side) for part in PARTS if (path / part).is_dir()}
    if not {"train", "test"} <= set(parts):
        raise MetaRLError(f"{path} holds {sorted(parts) or 'neither'}; it needs train/CLASS/ and test/CLASS/.")
    return Source(f"folder:{path}", parts)


def _classes_in(folder: Path, side: int) -> Classes:
    images, counts, names, broken = [], [], [], []
    for place in sorted(each for each in folder.iterdir() if each.is_dir()):
        found = []
        for file in sorted(each for each in place.iterdir() if each.suffix.lower() in _SUFFIXES):
            try:
                with Image.open(file) as image:
                    found.append(np.asarray(_grey(image).resize((side, side)), dtype=np.uint8))
            except (UnidentifiedImageError, OSError, SyntaxError):
                broken.append(str(file))
        if found:
            images += found
            counts.append(len(found))
            names.append(place.name)
    if broken:
        warnings.warn(f"{len(broken)} images cannot be read and are left out: {', '.join(broken[:5])}", stacklevel=3)
    if not images:
        raise MetaRLError(f"{folder} holds no class with an image; it should hold CLASS/*.png.")
    return Classes(torch.from_numpy(np.stack(images)), torch.tensor(counts), tuple(names), scale=1 / 255)


def _grey(image: Image.Image) -> Image.Image:
    """Of 8 bits, what is transparent on white."""
    if image.mode.startswith(("I", "F")):  # more bits, which Pillow would cut off
        levels = np.asarray(image, dtype=np.float64)
        most = 65535 if image.mode.startswith("I;16") else max(float(levels.max()), 1.0)
        return Image.fromarray((levels * (255 / most)).clip(0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        drawn = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("L")
    return image.convert("L")


_SOURCES: dict[str, Callable[[], dict[str, Classes]]] = {"omniglot": omniglot_parts, "strokes": strokes}
