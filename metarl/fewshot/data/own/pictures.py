"""A data set from a tree of class folders with pictures, whose size and colour are kept unless others are asked for."""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.dataset import SPLITS, FewShotDataset, split_by_chance
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.reader import FORMATS, UNREADABLE, classes_of_images, images_in, warn_of_doubles
from metarl.fewshot.features.cache import encode
from metarl.fewshot.features.registry import make_encoder

_LARGEST, _USUAL = 256, 84  # pixels of a side that are kept; of photographs that have more
_OF_NETWORKS = 224  # pixels of a side of what most pretrained networks take
_GREY = {"1", "L", "LA", "I", "I;16", "F"}  # Pillow's modes without colour


def dataset_from_pictures(
    path: Path, *, size: int | None = None, grey: bool = False, encoder: str = "", seed: int = 0, name: str = ""
) -> FewShotDataset:
    """Make a data set of ``path/CLASS/*.png``, or of ``path/train/CLASS/*.png``, ``val`` and ``test``.

    Args:
        path: of the folder. Without folders of splits, three fifths of the classes are for training, a fifth each for
            validation and test, by chance.
        size: pixels of each side; as the pictures are unless given. Where they differ, or are larger than 256, all are
            made 84 × 84, as a warning then says.
        grey: whether colour is dropped.
        encoder: turns pictures into vectors, ``timm:NAME`` or one of your own; without it they keep their pixels.
        seed: decides the split; the same for the same classes.
        name: of the data set, the path unless given.
    """
    places = {split: path / split for split in SPLITS if (path / split).is_dir()}
    if {"train", "test"} <= set(places):
        images = {split: images_in(place) for split, place in places.items()}
    else:
        found = {name: listed for name, listed in images_in(path).items() if listed}
        if not found:
            raise MetaRLError(f"{path} holds no CLASS/*.png or *.jpg; it needs a folder of pictures for each class.")
        try:
            splits = split_by_chance(list(found), seed, 2)
        except MetaRLError as error:
            raise MetaRLError(f"{path}: {error}") from error
        images = {split: {name: found[name] for name in listed} for split, listed in splits.items()}
    warn_of_doubles(images)
    every = [each for classes in images.values() for listed in classes.values() for each in listed]
    shape, coloured = _kept(every, path, size or (_OF_NETWORKS if encoder else None))
    mode = "RGB" if encoder or (coloured and not grey) else "L"
    made = {split: classes_of_images(classes, shape, mode, str(path)) for split, classes in images.items()}
    if not encoder:
        return FewShotDataset(name or str(path), made)
    encode_images = make_encoder(encoder)
    vectors = encode(encode_images, [image for part in made.values() for image in part.samples.numpy()])
    parts = torch.from_numpy(vectors).split([len(part.samples) for part in made.values()])
    sources = {
        split: Classes(part, made[split].counts, made[split].names) for split, part in zip(made, parts, strict=True)
    }
    return FewShotDataset(name or str(path), sources, encoder)


def _kept(images: Sequence[Path], where: Path, size: int | None) -> tuple[tuple[int, int], bool]:
    """Return the (height, width) that pictures get, and whether any of them has colours."""
    sizes, coloured = Counter[tuple[int, int]](), False
    for each in images:
        try:
            with Image.open(each, formats=FORMATS) as image:
                sizes[(image.height, image.width)] += 1
                coloured |= image.mode not in _GREY
        except UNREADABLE:
            continue  # it is told when it is decoded
    if size is not None:
        if not 4 <= size <= 1024:
            raise MetaRLError(f"size={size}: give pictures sides of 4 to 1024 pixels.")
        return (size, size), coloured
    if len(sizes) == 1 and max(shape := next(iter(sizes))) <= _LARGEST:
        return shape, coloured
    if sizes:
        (height, width), _ = sizes.most_common(1)[0]
        warnings.warn(
            f"{where}: pictures have {len(sizes)} sizes, most often {width} × {height}; all are made {_USUAL} × "
            f"{_USUAL}. Say another --size if you like.",
            stacklevel=3,
        )
    return (_USUAL, _USUAL), coloured
