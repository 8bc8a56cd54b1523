"""Data sets by name; ``module:Name`` reaches one of a user's own, and ``folder:PATH`` images."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError, did_you_mean
from metarl.core.plugins import DATA, declared, import_named
from metarl.fewshot.data.class_lists import MINI_IMAGENET, TIERED_IMAGENET
from metarl.fewshot.data.dataset import SPLITS, FewShotDataset, TaskSource
from metarl.fewshot.data.encoded import encoded_classes
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.functions import GaussianProcesses, Sinusoids
from metarl.fewshot.data.molecules import tox21
from metarl.fewshot.data.movietweetings import movietweetings
from metarl.fewshot.data.names import DataName
from metarl.fewshot.data.own.files import is_own, own_dataset
from metarl.fewshot.data.published import cifar_10, cifar_fs, imagenet, omniglot
from metarl.fewshot.data.reader import classes_of_images, images_in, warn_of_doubles
from metarl.fewshot.data.sentences import DOMAINS, clinc150, clinc150_split, clinc150_without
from metarl.fewshot.data.sklearn_tables import digits, sklearn_tables
from metarl.fewshot.data.synthetic_characters import stroke_classes
from metarl.fewshot.features.registry import DEFAULTS


def make_dataset(name: str) -> FewShotDataset:
    """Return a data set: one of ``DATASETS`` or ``ENCODED``, one's own file or folder, or ``module:Name``.

    Behind a question mark stand options, as in ``intents.csv?text=sentence&label=intent``, ``pictures/?size=32``, or
    ``clinc150-01?encoder=wordllama``; ``folder:PATH`` reads images as grey ones of 28 × 28. ``Name`` is a
    ``FewShotDataset`` in that module, or a function without arguments that returns one. An installed package gives such
    names to its own by an entry point of the group ``metarl.fewshot.data``.
    """
    called = DataName.parsed(name)
    if called.place in ENCODED:
        made_of = ENCODED[called.place]
        _check_options(called, {"encoder"})
        return made_of(called)
    if is_own(called):
        return own_dataset(called)
    place = declared(DATA).get(called.place, called.place)
    _check_options(called, set())
    if place.startswith("folder:"):
        return image_folder(Path(place.removeprefix("folder:")))
    if ":" in place:
        found = import_named(place)
        made = found() if callable(found) else found
        if not isinstance(made, FewShotDataset):
            raise MetaRLError(f"{place} is no FewShotDataset, nor a function that returns one, but {made!r:.80}.")
        return made
    if place not in DATASETS:
        known = [*DATASETS, *ENCODED]
        raise MetaRLError(
            f"Data set {place!r} is unknown; known are {', '.join(known)}, the path of a .csv, .tsv, .parquet or .npz "
            f"file or of a folder of pictures, folder:PATH, and module:Name for your own.{did_you_mean(place, known)}"
        )
    made = DATASETS[place]()
    return made if isinstance(made, FewShotDataset) else FewShotDataset(place, made)


def _check_options(name: DataName, allowed: set[str]) -> None:
    """Raise for options of a file, given with a data set that has no use for them."""
    if unused := [f"--{option}" for option, value in name.options.items() if value and option not in allowed]:
        raise MetaRLError(
            f"The data set {name.place} has no use for {', '.join(unused)}; they are for files of your own."
        )


def sentences(name: DataName, splits: Callable[[], dict[str, dict[str, list[str]]]]) -> FewShotDataset:
    """Return a published data set of sentences, encoded."""
    return encoded_classes(str(name), splits(), name.options.get("encoder") or DEFAULTS["text"])


def assays(name: DataName, *, new_compounds: bool) -> FewShotDataset:
    """Return Tox21, encoded."""
    return tox21(str(name), name.options.get("encoder") or DEFAULTS["smiles"], new_compounds=new_compounds)


def strokes() -> dict[str, Classes]:
    """Return synthetic characters, which need no file: 400 classes to train on, 50 to choose by, 100 to test on."""
    images = stroke_classes(550, 20)
    names = tuple(f"character {i}" for i in range(len(images)))
    bounds = {"train": (0, 400), "val": (400, 450), "test": (450, 550)}
    return {split: equal_classes(images[low:high], names[low:high]) for split, (low, high) in bounds.items()}


def equal_classes(samples: NDArray[np.uint8], names: tuple[str, ...]) -> Classes:
    """Return classes of as many samples each, ``(class, sample, *shape)``."""
    flat = torch.from_numpy(np.ascontiguousarray(samples)).flatten(0, 1)
    return Classes(flat, torch.full((len(samples),), samples.shape[1]), names)


def image_folder(path: Path, side: int = 28) -> FewShotDataset:
    """Return a data set of one's own images: ``path/train/CLASS/*.png``, ``path/test/CLASS/*.png``, and ``val``.

    They are made grey and ``side`` × ``side``; ``val`` may be left out. An image that cannot be read is left out with a
    warning, and others tell of an image in two classes, and of classes whose names differ only in case.
    """
    if not path.is_dir():
        raise MetaRLError(f"There is no folder {path}; it should hold train/CLASS/ and test/CLASS/ with images.")
    places = {split: path / split for split in SPLITS if (path / split).is_dir()}
    if not {"train", "test"} <= set(places):
        raise MetaRLError(f"{path} holds {sorted(places) or 'neither'}; it needs train/CLASS/ and test/CLASS/.")
    images = {split: images_in(place) for split, place in places.items()}
    splits = {split: classes_of_images(each, (side, side), "L", str(places[split])) for split, each in images.items()}
    warn_of_doubles(images)
    return FewShotDataset(f"folder:{path}", splits)


ENCODED: dict[str, Callable[[DataName], FewShotDataset]] = {
    "tox21": partial(assays, new_compounds=False),
    "tox21-new-compounds": partial(assays, new_compounds=True),
    "clinc150": partial(sentences, splits=lambda: {"test": clinc150()}),
    **{f"clinc150-{n}": partial(sentences, splits=partial(clinc150_split, n)) for n in ("01", "02", "03")},
    **{
        f"clinc150-without-{domain.replace('_', '-')}": partial(sentences, splits=partial(clinc150_without, domain))
        for domain in DOMAINS
    },
}
DATASETS: dict[str, Callable[[], Mapping[str, TaskSource] | FewShotDataset]] = {
    "strokes": strokes,
    "omniglot": omniglot,
    "digits": digits,
    "tables": sklearn_tables,
    "movietweetings": lambda: movietweetings("movietweetings"),
    "cifar-fs": cifar_fs,
    "cifar-10": cifar_10,
    "mini-imagenet": lambda: imagenet("miniimagenet", MINI_IMAGENET, each=600),
    "tiered-imagenet": lambda: imagenet("tieredimagenet", TIERED_IMAGENET),
    # Functions are drawn anew for every task, so that all splits have the same distribution.
    "sinusoid": lambda: dict.fromkeys(SPLITS, Sinusoids()),
    "gaussian-process": lambda: dict.fromkeys(SPLITS, GaussianProcesses()),
}
