"""Where few-shot tasks come from: classes to train on, to choose by and to test on, and none in two of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.cifar import cifar10_parts, cifarfs_parts
from metarl.fewshot.data.duplicates import warn_of_doubles
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.functions import Functions, GaussianProcesses, Sinusoids
from metarl.fewshot.data.imagenet import miniimagenet_parts, tieredimagenet_parts
from metarl.fewshot.data.images import in_folders, of_pictures
from metarl.fewshot.data.omniglot import omniglot_parts
from metarl.fewshot.data.synthetic_characters import stroke_classes

SPLITS = ("train", "val", "test")

Part = Classes | Functions


@dataclass(frozen=True)
class DataSpec:
    """What a learner has to know of its data before it sees any."""

    shape: tuple[int, ...]  # of one sample
    classes: int = 0  # to train on
    outputs: int | None = None  # numbers to predict; None where there are classes

    @property
    def n_inputs(self) -> int:
        """Numbers in a sample."""
        return prod(self.shape)


@dataclass(frozen=True)
class FewShotDataset:
    """Tasks in parts. Raises where a class is in two of them, for a test class is never seen in training."""

    name: str
    parts: Mapping[str, Part]

    def __post_init__(self) -> None:
        if unknown := set(self.parts) - set(SPLITS):
            raise MetaRLError(f"{self.name} has parts {sorted(unknown)}; there are {', '.join(SPLITS)}.")
        seen: dict[str, str] = {}
        for part, classes in self.parts.items():
            for name in classes.names:
                if name in seen:
                    raise MetaRLError(f"{self.name}: class {name!r} is in {seen[name]} and in {part}; leave it in one.")
                seen[name] = part
        shapes = {classes.shape for classes in self.parts.values()}
        if len(shapes) > 1:
            raise MetaRLError(f"{self.name}: samples of different shapes {sorted(shapes)}; make them alike.")

    def part(self, name: str) -> Part:
        """One of ``PARTS``."""
        if name not in self.parts:
            raise MetaRLError(f"{self.name} has no part {name!r}, but {', '.join(self.parts)}.")
        return self.parts[name]

    @property
    def kind(self) -> DataSpec:
        """What a learner is made for."""
        some = next(iter(self.parts.values()))
        if isinstance(some, Functions):
            return DataSpec(some.shape, outputs=1)
        return DataSpec(some.shape, len(self.parts["train"]) if "train" in self.parts else 0)


def make_dataset(name: str) -> FewShotDataset:
    """A data set by its name, one of ``SOURCES``, or ``folder:PATH`` of your own images."""
    if name.startswith("folder:"):
        return image_folder(Path(name.removeprefix("folder:")))
    if name not in DATASETS:
        raise MetaRLError(f"Data set {name!r} is unknown; known are {', '.join(DATASETS)} and folder:PATH.")
    return FewShotDataset(name, DATASETS[name]())


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


def image_folder(path: Path, side: int = 28) -> FewShotDataset:
    """Your own images: ``path/train/CLASS/*.png`` and ``path/test/CLASS/*.png``, ``val`` if there is one.

    They are made grey and ``side`` × ``side``. An image that cannot be read is left out with a warning,
    and others tell of an image in two classes, and of classes whose names differ only in case.
    """
    if not path.is_dir():
        raise MetaRLError(f"There is no folder {path}; it should hold train/CLASS/ and test/CLASS/ with images.")
    places = {part: path / part for part in SPLITS if (path / part).is_dir()}
    if not {"train", "test"} <= set(places):
        raise MetaRLError(f"{path} holds {sorted(places) or 'neither'}; it needs train/CLASS/ and test/CLASS/.")
    pictures = {part: in_folders(place) for part, place in places.items()}
    parts = {part: of_pictures(each, side, False, str(places[part])) for part, each in pictures.items()}
    warn_of_doubles(pictures)
    return FewShotDataset(f"folder:{path}", parts)


def _everywhere(functions: Functions) -> dict[str, Functions]:
    """Functions are drawn anew for every task, so that training and test have the same distribution."""
    return dict.fromkeys(SPLITS, functions)


DATASETS: dict[str, Callable[[], Mapping[str, Part]]] = {
    "strokes": strokes,
    "omniglot": omniglot_parts,
    "cifar-fs": cifarfs_parts,
    "cifar-10": cifar10_parts,
    "mini-imagenet": miniimagenet_parts,
    "tiered-imagenet": tieredimagenet_parts,
    "sinusoid": lambda: _everywhere(Sinusoids()),
    "gaussian-process": lambda: _everywhere(GaussianProcesses()),
}
