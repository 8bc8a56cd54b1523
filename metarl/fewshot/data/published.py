"""Published data sets of images: Omniglot, CIFAR-FS, CIFAR-10, miniImageNet and tieredImageNet."""

import io
import re
import tarfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.fewshot.data import reader
from metarl.fewshot.data.class_lists import CIFAR_10, CIFAR_FS
from metarl.fewshot.data.episodes import Classes

_OMNIGLOT = "https://github.com/brendenlake/omniglot/raw/master/python/"
_ARCHIVES = {"images_background.zip": 964, "images_evaluation.zip": 659}  # and how many characters each holds
_VINYALS = "https://raw.githubusercontent.com/jakesnell/prototypical-networks/master/data/omniglot/splits/vinyals/"
_DRAWERS, _SIDE = 20, 28
_MOST_BYTES, _LONGEST = 2**16, 1000  # of an image and of its side: the official ones have 522 and 105
_MOST_PACKED = 2**26  # bytes of an array: 3 MB are needed
_CLASS = re.compile(r"(.+/character\d+)/rot(000|090|180|270)")
_PACKED = "omniglot_28_nearest.npz"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_MD5 = {
    "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
    "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
}
_SPLITS = ("train", "val", "test")
_MOST_IMAGES = 1300  # of a class: as many as ImageNet has
_T = TypeVar("_T")


def omniglot() -> dict[str, Classes]:
    """Return Omniglot (Lake et al. 2015) in the split of Vinyals et al. 2016: 1,623 characters by 20 people each.

    Every rotation by 90° is a class of its own: 4,112 to train on, 688 to choose by, 1,692 to test on. The images are
    28 × 28, ink 1. They are resized to the nearest pixel, as published results most likely were, for Pillow resizes
    images of 1 bit so whatever it is asked.
    """
    images, splits = _characters(), {}
    for split in _SPLITS:
        listed = reader.file_of("omniglot", f"splits_vinyals/{split}.txt", f"{_VINYALS}{split}.txt")
        names, rows = tuple(listed.read_text().split()), []
        for name in names:
            match = _CLASS.fullmatch(name)
            if match is None or match[1] not in images:
                raise MetaRLError(f"{listed} names {name!r}, which the images do not hold; fetch both anew.")
            rows.append(np.rot90(images[match[1]], int(match[2]) // 90, axes=(1, 2)))
        samples = torch.from_numpy(np.stack(rows)).flatten(0, 1)
        splits[split] = Classes(samples, torch.full((len(names),), _DRAWERS), names)
    return splits


def _characters() -> dict[str, NDArray[np.uint8]]:
    """Return Omniglot's images ``(20, 28, 28)`` by Alphabet/characterNN, from one file that is made once."""
    places = [folder / _PACKED for folder in reader.folders("omniglot")]
    packed = next((path for path in places if path.is_file()), places[-1])
    if not packed.is_file():
        made: dict[str, NDArray[np.uint8]] = {}
        for file, characters in _ARCHIVES.items():
            made |= read_omniglot(reader.file_of("omniglot", file, _OMNIGLOT + file, _MD5[file]), characters)
        stacked, content = np.stack(list(made.values())), io.BytesIO()
        np.savez(content, bits=np.packbits(stacked), shape=np.array(stacked.shape), classes=np.array(list(made)))
        write_atomic(packed, content.getvalue())
    bits, shape, names = reader.load_npz(packed, ("bits", "shape", "classes"), _MOST_PACKED)
    images = np.unpackbits(bits)[: int(np.prod(shape))].reshape(shape)
    return {str(name).partition("/")[2]: images[i] for i, name in enumerate(names)}


def read_omniglot(path: Path, characters: int) -> dict[str, NDArray[np.uint8]]:
    """Return the images of an official archive by ``archive/Alphabet/characterNN``; raise unless it has so many."""
    found: dict[str, list[NDArray[np.uint8]]] = {}
    try:
        with (
            zipfile.ZipFile(path) as archive,
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
        ):
            for name in reader.checked_members(archive, ".png", _MOST_BYTES):
                ink = 1 - reader.pixels(io.BytesIO(archive.read(name)), (_SIDE, _SIDE), "1", _LONGEST)
                found.setdefault(name.rpartition("/")[0], []).append(ink)
    except reader.UNREADABLE as error:
        raise MetaRLError(f"{path} is damaged ({error}); delete it, and it is fetched anew.") from error
    partial = [name for name, drawings in found.items() if len(drawings) != _DRAWERS]
    if len(found) != characters or partial:
        raise MetaRLError(
            f"{path} holds {len(found)} characters, {len(partial)} of them with other than {_DRAWERS} drawings; "
            f"{characters} whole ones were expected. Delete it, and it is fetched anew."
        )
    return {name: np.stack(drawings) for name, drawings in found.items()}


def cifar_fs() -> dict[str, Classes]:
    """Return CIFAR-FS, ``(sample, 3, 32, 32)``: the 100 classes of CIFAR-100, 600 images each."""
    batches = ("train.bin", "test.bin")
    return _cifar("cifar100", "cifar-100-binary.tar.gz", batches, "fine_label_names.txt", 2, CIFAR_FS)


def cifar_10() -> dict[str, Classes]:
    """Return CIFAR-10, ``(sample, 3, 32, 32)``: 10 classes, 6,000 images each."""
    batches = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
    return _cifar("cifar10", "cifar-10-binary.tar.gz", batches, "batches.meta.txt", 1, CIFAR_10)


def _cifar(
    name: str, file: str, batches: Sequence[str], names: str, labels: int, splits: Mapping[str, Sequence[str]]
) -> dict[str, Classes]:
    """Read one of CIFAR's archives (Krizhevsky 2009) in its binary version, whole by its checksum.

    An image is 3,072 bytes after ``labels`` others, the last of which is the number of its class in ``names``.
    """
    path = reader.file_of(name, file, _CIFAR + file, _MD5[file])
    try:
        with tarfile.open(path) as archive:
            files = {Path(each.name).name: archive.extractfile(each) for each in archive if each.isreg()}
            content = {each: file.read() for each, file in files.items() if file and each in (*batches, names)}
        rows = np.frombuffer(b"".join(content[each] for each in batches), np.uint8).reshape(-1, labels + 3072)
    except (tarfile.TarError, *reader.UNREADABLE) as error:
        raise MetaRLError(f"{path} is damaged or lacks a file ({error}); delete it, and it is fetched anew.") from error
    images = rows[:, labels:].reshape(-1, 3, 32, 32)
    rows_of = {each: np.flatnonzero(rows[:, labels - 1] == i) for i, each in enumerate(content[names].decode().split())}
    return {
        split: reader.classes_of_rows(images, {each: rows_of[each] for each in chosen})
        for split, chosen in splits.items()
    }


def imagenet(name: str, splits: Mapping[str, Sequence[str] | int], each: int | None = None) -> dict[str, Classes]:
    """Return miniImageNet or tieredImageNet, ``(sample, 3, 84, 84)``, from files of one's own.

    ImageNet's terms let nobody hand the images on, so nothing is fetched. What is read: ``train.npz`` and so on with
    ``images`` ``(n, 84, 84, 3)`` in bytes and ``labels`` ``(n,)``, or ``train/CLASS/*.jpg`` and so on.

    Args:
        name: of the folder below ``METARL_DATA``.
        splits: the classes of each split, or how many they are.
        each: images of a class, where the number is known.

    Raises:
        MetaRLError: where neither is there, or a class is missing or in another split than its own.
    """
    places = reader.folders(name)
    for place in places:
        if all((place / f"{split}.npz").is_file() for split in splits):
            return {split: _of_arrays(place / f"{split}.npz", split, wanted, each) for split, wanted in splits.items()}
        if all((place / split).is_dir() for split in splits):
            return {split: _of_folder(place / split, wanted, each) for split, wanted in splits.items()}
    raise MetaRLError(
        f"{name} is not whole in {' or '.join(map(str, places))}. Looked for: train.npz, val.npz and test.npz; "
        "train/CLASS/*.jpg, val/CLASS/*.jpg and test/CLASS/*.jpg. Its images are ImageNet's: ask for them at "
        "https://image-net.org/download; docs/few_shot.md says how to arrange them."
    )


def _of_folder(path: Path, wanted: Sequence[str] | int, each: int | None) -> Classes:
    """Return a split of folders of images."""
    images = _ordered(reader.images_in(path), wanted)
    return _whole(reader.classes_of_images(images, (84, 84), "RGB", str(path)), wanted, each, path)


def _of_arrays(path: Path, split: str, wanted: Sequence[str] | int, each: int | None) -> Classes:
    """Return a split from an ``.npz`` file; labels that are numbers mean other classes in every split."""
    n_classes = wanted if isinstance(wanted, int) else len(wanted)
    images, labels = reader.load_npz(path, ("images", "labels"), n_classes * _MOST_IMAGES * 84 * 84 * 3)
    if images.shape != (len(labels), 84, 84, 3) or images.dtype != np.uint8 or labels.ndim != 1:
        raise MetaRLError(
            f"{path} has images {images.shape} of {images.dtype} and labels {labels.shape}; (n, 84, 84, 3) bytes and "
            "(n,) were expected."
        )
    called = {str(label) if labels.dtype.kind == "U" else f"{split} {label}": label for label in np.unique(labels)}
    rows = {name: np.flatnonzero(labels == label) for name, label in called.items()}
    return _whole(reader.classes_of_rows(images.transpose(0, 3, 1, 2), _ordered(rows, wanted)), wanted, each, path)


def _ordered(found: dict[str, _T], wanted: Sequence[str] | int) -> dict[str, _T]:
    """Return the classes of a split, in the order in which they were published."""
    return found if isinstance(wanted, int) else {**{name: found[name] for name in wanted if name in found}, **found}


def _whole(classes: Classes, wanted: Sequence[str] | int, each: int | None, where: Path) -> Classes:
    """Raise where a class is missing or of another split; warn where one has other than ``each`` images."""
    names = classes.names if isinstance(wanted, int) else wanted
    n_classes = wanted if isinstance(wanted, int) else len(wanted)
    missing, others = ([n for n in a if n not in b] for a, b in ((names, classes.names), (classes.names, names)))
    if missing or others or len(classes) != n_classes:
        raise MetaRLError(
            f"{where} has {len(classes)} classes that can be read, of {n_classes} published: {len(missing)} are "
            f"missing ({', '.join(missing[:5])}), and {len(others)} are of another split ({', '.join(others[:5])}), "
            "which would be seen in training and then tested on. Unpack it anew."
        )
    counts = zip(classes.names, classes.counts.tolist(), strict=True)
    if other := [f"{name}: {n}" for name, n in counts if each not in (None, n)]:
        message = f"{where}: {len(other)} classes have other than the {each} images published ({', '.join(other[:5])})."
        warnings.warn(message, stacklevel=4)
    return classes
