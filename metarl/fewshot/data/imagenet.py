"""miniImageNet and tieredImageNet: ImageNet's pictures at 84 × 84 in colour, in parts for few-shot learning.

miniImageNet (Vinyals et al. 2016) has 600 pictures of each of 100 classes, here in the split of Ravi and Larochelle
2017 (Optimization as a model for few-shot learning, https://github.com/twitter/meta-learning-lstm): 64 to train on, 16
to choose by, 20 to test on. tieredImageNet (Ren et al. 2018, https://arxiv.org/abs/1803.00676) has 351, 97 and 160,
apart by their kinds. ImageNet's terms do not let anyone hand the pictures on, so nothing is fetched here.
"""

import csv
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.download import cache, data
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.images import Picture, in_folders, of_pictures, of_rows, whole
from metarl.fewshot.data.pickles import read_pickle
from metarl.fewshot.data.zips import checked_members

MINI_IMAGENET = {
    part: names.split()
    for part, names in {
        "train": (
            "n01532829 n01558993 n01704323 n01749939 n01770081 n01843383 n01910747 n02074367 n02089867 n02091831 "
            "n02101006 n02105505 n02108089 n02108551 n02108915 n02111277 n02113712 n02120079 n02165456 n02457408 "
            "n02606052 n02687172 n02747177 n02795169 n02823428 n02966193 n03017168 n03047690 n03062245 n03207743 "
            "n03220513 n03337140 n03347037 n03400231 n03476684 n03527444 n03676483 n03838899 n03854065 n03888605 "
            "n03908618 n03924679 n03998194 n04067472 n04243546 n04251144 n04258138 n04275548 n04296562 n04389033 "
            "n04435653 n04443257 n04509417 n04515003 n04596742 n04604644 n04612504 n06794110 n07584110 n07697537 "
            "n07747607 n09246464 n13054560 n13133613"
        ),
        "val": (
            "n01855672 n02091244 n02114548 n02138441 n02174001 n02950826 n02971356 n02981792 n03075370 n03417042 "
            "n03535780 n03584254 n03770439 n03773504 n03980874 n09256479"
        ),
        "test": (
            "n01930112 n01981276 n02099601 n02110063 n02110341 n02116738 n02129165 n02219486 n02443484 n02871525 "
            "n03127925 n03146219 n03272010 n03544143 n03775546 n04146614 n04149813 n04418357 n04522168 n07613480"
        ),
    }.items()
}
TIERED_IMAGENET = {"train": 351, "val": 97, "test": 160}  # classes
_EACH, _SIDE = 600, 84
_HEADER = 4096  # bytes of an array's file before its numbers, at most
_MINI_PICKLE = "mini-imagenet-cache-{}.pkl"
_MINI_WHERE = (
    "Its pictures are ImageNet's: ask for them at https://image-net.org/download, and take the lists of those that are "
    "needed from https://github.com/twitter/meta-learning-lstm (data/miniImagenet); pickles of them are linked at "
    "https://github.com/renmengye/few-shot-ssl-public."
)
_TIERED_WHERE = "They are linked at https://github.com/renmengye/few-shot-ssl-public; the pictures are ImageNet's."


def miniimagenet_parts() -> dict[str, Classes]:
    """miniImageNet, ``(sample, 3, 84, 84)``, from ``METARL_DATA/miniimagenet`` or ``~/.cache/metarl/miniimagenet``.

    What is read, the first that is there: the pickles ``mini-imagenet-cache-{train,val,test}.pkl``; ``images/`` with
    the lists ``train.csv``, ``val.csv`` and ``test.csv``; ``train/CLASS/*.jpg`` and so on. Raises where there is none,
    and where a class is missing or in a part that is not its own.
    """
    places = (data("miniimagenet"), cache("miniimagenet"))
    for place in places:
        if all((place / _MINI_PICKLE.format(part)).is_file() for part in MINI_IMAGENET):
            return {part: _of_cache(place / _MINI_PICKLE.format(part), part) for part in MINI_IMAGENET}
        if (place / "images").is_dir() and all((place / f"{part}.csv").is_file() for part in MINI_IMAGENET):
            lists = {part: place / f"{part}.csv" for part in MINI_IMAGENET}
            return {part: _mini(_in_list(path, place / "images"), part, path) for part, path in lists.items()}
        if all((place / part).is_dir() for part in MINI_IMAGENET):
            return {part: _mini(in_folders(place / part), part, place / part) for part in MINI_IMAGENET}
    raise MetaRLError(
        f"miniImageNet is not whole in {_both(places)}. Looked for: {_MINI_PICKLE.format('{train,val,test}')}; images/ "
        f"with train.csv, val.csv and test.csv; train/CLASS/*.jpg, val/CLASS/*.jpg and test/CLASS/*.jpg. {_MINI_WHERE}"
    )


def tieredimagenet_parts() -> dict[str, Classes]:
    """tieredImageNet, ``(sample, 3, 84, 84)``, from ``METARL_DATA/tieredimagenet`` or the folder below the cache.

    What is read, for each part: its labels, ``train_labels.pkl``, and its pictures, ``train_images.npz`` or
    ``train_images_png.pkl``. The three take 16 GB of memory, and minutes to decode. Raises where one is not there or is
    not whole.
    """
    places = (data("tieredimagenet"), cache("tieredimagenet"))
    for place in places:
        images = {part: _tiered_images(place, part) for part in TIERED_IMAGENET}
        if all(path is not None and (place / f"{part}_labels.pkl").is_file() for part, path in images.items()):
            return {part: _of_labels(place, part, path) for part, path in images.items() if path is not None}
    raise MetaRLError(
        f"tieredImageNet is not whole in {_both(places)}. Looked for: {{train,val,test}}_labels.pkl, and "
        f"{{train,val,test}}_images_png.pkl or {{train,val,test}}_images.npz. {_TIERED_WHERE}"
    )


def _both(places: Sequence[Path]) -> str:
    return " or ".join(dict.fromkeys(map(str, places)))


def _of_cache(path: Path, part: str) -> Classes:
    content = read_pickle(path)
    try:
        images: NDArray[np.uint8] = np.asarray(content["image_data"])
        rows = {str(name): _numbers(each) for name, each in content["class_dict"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MetaRLError(
            f"{path} does not hold image_data, and class_dict with the rows of each class ({error}). {_MINI_WHERE}"
        ) from error
    _own(list(rows), part, path)
    if images.shape[1:] != (_SIDE, _SIDE, 3):
        raise MetaRLError(f"{path} has images {images.shape}; (n, 84, 84, 3) were expected. {_MINI_WHERE}")
    classes = {name: rows[name] for name in MINI_IMAGENET[part] if name in rows}
    return whole(of_rows(images.transpose(0, 3, 1, 2), classes, str(path)), MINI_IMAGENET[part], _EACH, str(path))


def _mini(found: dict[str, list[Picture]], part: str, where: Path) -> Classes:
    _own(list(found), part, where)
    names = MINI_IMAGENET[part]
    pictures = {name: found.get(name, []) for name in names}
    return whole(of_pictures(pictures, _SIDE, True, str(where)), names, _EACH, str(where))


def _own(found: Sequence[str], part: str, where: Path) -> None:
    """Refuse a class of another part: it would be seen in training and then tested on."""
    if others := sorted(set(found) - set(MINI_IMAGENET[part])):
        raise MetaRLError(
            f"{where} has {len(others)} classes that Ravi and Larochelle's {part} has not, such as {others[0]!r}; its "
            f"own are WordNet's numbers, such as {MINI_IMAGENET[part][0]}. {_MINI_WHERE}"
        )


def _in_list(path: Path, images: Path) -> dict[str, list[Picture]]:
    """The pictures of a list with the header ``filename,label``, by label."""
    found: dict[str, list[Picture]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file, strict=True)
            if next(lines, None) != ["filename", "label"]:
                raise ValueError("its first line is another")
            for name, label in lines:
                found.setdefault(label, []).append((str(images / name), images / name))
    except (OSError, ValueError, csv.Error) as error:
        raise MetaRLError(f"{path} is no list with the header filename,label ({error}). {_MINI_WHERE}") from error
    return found


def _tiered_images(place: Path, part: str) -> Path | None:
    for path in (place / f"{part}_images.npz", place / f"{part}_images_png.pkl"):
        if path.is_file():
            return path
    return None


def _of_labels(place: Path, part: str, images: Path) -> Classes:
    path = place / f"{part}_labels.pkl"
    content = read_pickle(path)
    try:
        labels = _numbers(content["label_specific"])
        words = list(content.get("label_specific_str", ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MetaRLError(f"{path} does not hold label_specific, a number for each picture ({error}).") from error
    # Numbers start anew in each part, and words are not unique: two classes are called crane.
    names = [
        f"{part} {number}" + (f": {words[number]}" if 0 <= number < len(words) else "") for number in np.unique(labels)
    ]
    rows = dict(zip(names, (np.flatnonzero(labels == number) for number in np.unique(labels)), strict=True))
    if len(rows) != TIERED_IMAGENET[part]:
        raise MetaRLError(f"{path} has {len(rows)} classes, and {TIERED_IMAGENET[part]} were expected. {_TIERED_WHERE}")
    if images.suffix == ".npz":
        return of_rows(_unzipped(images, len(labels)), rows, str(images))
    pictures = read_pickle(images)
    if not isinstance(pictures, list | np.ndarray) or len(pictures) != len(labels):
        raise MetaRLError(f"{images} does not hold a list of the {len(labels)} pictures of {path}. {_TIERED_WHERE}")
    encoded = {
        name: [(f"{images.name}[{row}]", _encoded(pictures[row], images, row)) for row in each.tolist()]
        for name, each in rows.items()
    }
    classes = of_pictures(encoded, _SIDE, True, str(images))
    if lost := sorted(set(names) - set(classes.names)):
        raise MetaRLError(f"{images} has no picture of {', '.join(lost[:5])} that can be read. {_TIERED_WHERE}")
    return classes


def _unzipped(path: Path, n: int) -> NDArray[np.uint8]:
    try:
        with zipfile.ZipFile(path) as archive:
            checked_members(archive, ".npy", 2 * n * _SIDE * _SIDE * 3 + _HEADER)
        with path.open("rb") as file, np.load(file) as content:  # NumPy leaves a damaged file open
            images: NDArray[np.uint8] = content["images"]
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise MetaRLError(f"{path} is damaged, or holds no images ({error}). {_TIERED_WHERE}") from error
    if images.shape != (n, _SIDE, _SIDE, 3):
        raise MetaRLError(f"{path} has images {images.shape}; ({n}, 84, 84, 3) were expected by its labels.")
    # They come from OpenCV, which has blue first; the PNG files are as usual.
    return images[..., ::-1].transpose(0, 3, 1, 2)


def _encoded(picture: Any, path: Path, row: int) -> bytes | memoryview:
    """What a PNG file would hold, without copying what need not be."""
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8:
        return np.ascontiguousarray(picture).data
    if isinstance(picture, str):  # of Python 2
        return picture.encode("latin1", errors="replace")
    if isinstance(picture, bytes):
        return picture
    raise MetaRLError(f"{path} has a {type(picture).__name__} in row {row}; PNG files as bytes were expected.")


def _numbers(each: Any) -> NDArray[np.int64]:
    """As integers; a number that is none is refused rather than cut off."""
    numbers = np.asarray(each)
    if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iu"):
        raise ValueError(f"{numbers.dtype} {numbers.shape} are no list of integers")
    return numbers.astype(np.int64)
