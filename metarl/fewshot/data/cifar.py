"""CIFAR's pictures (Krizhevsky 2009), 32 × 32 in colour, in parts for few-shot learning.

CIFAR-FS is CIFAR-100 with 64 classes to train on, 16 to choose by and 20 to test on, 600 pictures each (Bertinetto et
al. 2019, Meta-learning with differentiable closed-form solvers, https://arxiv.org/abs/1805.08136). For CIFAR-10 no
split is published; here the classes are in parts of 6, 2 and 2 in their own order, 6,000 pictures each, so episodes of
``val`` and ``test`` tell two classes apart.
"""

import hashlib
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.fewshot.data.download import cache, data, fetch
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.images import Picture, in_folders, of_pictures, of_rows, whole
from metarl.fewshot.data.pickles import read_pickle

CIFAR_FS = {
    part: names.split()
    for part, names in {
        "train": (
            "dolphin seal aquarium_fish ray trout orchid sunflower tulip bottle bowl can cup plate apple mushroom "
            "orange pear clock keyboard chair couch bee caterpillar cockroach bear lion tiger wolf bridge castle "
            "house road skyscraper cloud forest mountain elephant kangaroo porcupine possum raccoon skunk lobster "
            "spider boy girl dinosaur lizard snake turtle hamster mouse rabbit shrew squirrel oak_tree palm_tree "
            "pine_tree willow_tree bus train lawn_mower streetcar tank"
        ),
        "val": (
            "beaver otter flatfish shark lamp television beetle butterfly sea camel cattle crab crocodile "
            "maple_tree motorcycle tractor"
        ),
        "test": (
            "whale poppy rose sweet_pepper telephone bed table wardrobe leopard plain chimpanzee fox snail worm "
            "baby man woman bicycle pickup_truck rocket"
        ),
    }.items()
}
CIFAR_10 = {
    "train": ["airplane", "automobile", "bird", "cat", "deer", "dog"],
    "val": ["frog", "horse"],
    "test": ["ship", "truck"],
}
_SIDE = 32


class _Archive(NamedTuple):
    """One of the two, as https://www.cs.toronto.edu/~kriz/cifar.html gives it."""

    name: str  # of its folder below METARL_DATA
    file: str
    md5: str
    folder: str  # inside the archive
    batches: tuple[str, ...]
    about: str
    labels: str  # the key in a batch
    names: str  # the key in ``about``
    each: int  # pictures of a class

    @property
    def members(self) -> tuple[str, ...]:
        return (*self.batches, self.about)

    @property
    def address(self) -> str:
        return f"https://www.cs.toronto.edu/~kriz/{self.file}"


_CIFAR_100_FILES = _Archive(
    name="cifar100",
    file="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
    batches=("train", "test"),
    about="meta",
    labels="fine_labels",
    names="fine_label_names",
    each=600,
)
_CIFAR_10_FILES = _Archive(
    name="cifar10",
    file="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    batches=(*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
    about="batches.meta",
    labels="labels",
    names="label_names",
    each=6000,
)


def cifarfs_parts() -> dict[str, Classes]:
    """CIFAR-FS, ``(sample, 3, 32, 32)``, from ``METARL_DATA/cifar100``, or fetched once into ``~/.cache/metarl``.

    What is read: CIFAR-100's own ``cifar-100-python/{train,test,meta}``, ``cifar-100-python.tar.gz``, or the folders
    ``data/CLASS/*.png`` of the archive that CIFAR-FS was published in. Raises where one of them is not whole.
    """
    folder, pictures = _unpacked(_CIFAR_100_FILES), data(_CIFAR_100_FILES.name) / "data"
    if folder is None and pictures.is_dir():
        found = in_folders(pictures)
        return {part: _of_folders(found, names, pictures) for part, names in CIFAR_FS.items()}
    return _of_batches(_CIFAR_100_FILES, folder or _unpack(_CIFAR_100_FILES), CIFAR_FS)


def cifar10_parts() -> dict[str, Classes]:
    """CIFAR-10, ``(sample, 3, 32, 32)``: 6 classes to train on, frogs and horses to choose by, ships and trucks.

    From ``METARL_DATA/cifar10``, as ``cifar-10-batches-py/`` or ``cifar-10-python.tar.gz``, or fetched once into
    ``~/.cache/metarl``. Raises where it is not whole.
    """
    return _of_batches(_CIFAR_10_FILES, _unpacked(_CIFAR_10_FILES) or _unpack(_CIFAR_10_FILES), CIFAR_10)


def _of_folders(found: dict[str, list[Picture]], names: list[str], where: Path) -> Classes:
    classes = of_pictures({name: found.get(name, []) for name in names}, _SIDE, True, str(where))
    return whole(classes, names, _CIFAR_100_FILES.each, str(where))


def _unpacked(archive: _Archive) -> Path | None:
    """The folder that has all the files already."""
    for place in (data(archive.name), cache(archive.name)):
        folder = place / archive.folder
        if all((folder / member).is_file() for member in archive.members):
            return folder
    return None


def _unpack(archive: _Archive) -> Path:
    """Take the files that are needed, and no other, out of the archive, fetched if it is nowhere."""
    place = data(archive.name)
    kept = [each / archive.file for each in (place, cache(archive.name)) if (each / archive.file).is_file()]
    if kept:
        path = kept[0]
        with path.open("rb") as packed:
            digest = hashlib.file_digest(packed, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != archive.md5:
            raise MetaRLError(
                f"{path} is partial or damaged: its MD5 is {digest}, and {archive.md5} was expected. Delete it, and "
                f"fetch {archive.address} anew."
            )
    else:
        path = fetch(
            archive.address,
            cache(archive.name) / archive.file,
            archive.md5,
            f"Put {archive.file}, or {archive.folder}/ with {', '.join(archive.members)}, in {place}, or set "
            f"METARL_DATA to the folder that holds {archive.name}/.",
        )
    folder = cache(archive.name) / archive.folder
    try:
        with tarfile.open(path) as content:
            for member in archive.members:
                each = content.getmember(f"{archive.folder}/{member}")
                file = content.extractfile(each) if each.isreg() else None  # not what a link leads to
                if file is None:
                    raise MetaRLError(f"{path} has {each.name}, but not as a file; delete it, and it is fetched anew.")
                write_atomic(folder / member, file.read())
    except (tarfile.TarError, KeyError, OSError, EOFError, zlib.error) as error:
        raise MetaRLError(f"{path} cannot be unpacked into {folder} ({error}).") from error
    return folder


def _of_batches(archive: _Archive, folder: Path, split: dict[str, list[str]]) -> dict[str, Classes]:
    images, labels = [], []
    for member in archive.batches:
        content = read_pickle(folder / member)
        try:
            pictures, numbers = np.asarray(content["data"]), np.asarray(content[archive.labels])
            images.append(pictures.reshape(-1, 3, _SIDE, _SIDE))
            labels.append(numbers.reshape(len(pictures)))
        except (KeyError, TypeError, ValueError) as error:
            raise MetaRLError(
                f"{folder / member} does not hold pictures as 'data' and a number for each as {archive.labels!r} "
                f"({error}); delete it, and fetch {archive.address} anew."
            ) from error
    about = read_pickle(folder / archive.about)
    names = list(about.get(archive.names, ())) if isinstance(about, dict) else []
    every, wanted = np.concatenate(labels), [name for part in split.values() for name in part]
    if missing := [name for name in wanted if name not in names]:
        raise MetaRLError(f"{folder / archive.about} names no class {', '.join(missing[:5])}; fetch it anew.")
    rows = {name: np.flatnonzero(every == names.index(name)) for name in wanted}
    if partial := [name for name in wanted if len(rows[name]) != archive.each]:
        raise MetaRLError(
            f"{folder} has other than {archive.each} pictures of {len(partial)} classes, such as {partial[0]} with "
            f"{len(rows[partial[0]])}; delete it, and it is fetched anew."
        )
    pictures = np.concatenate(images)
    return {part: of_rows(pictures, {name: rows[name] for name in each}, str(folder)) for part, each in split.items()}
