"""A support and queries from two files or folders, as samples that a model takes."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.own.items import Items, read_items
from metarl.fewshot.data.reader import UNREADABLE, images_in, pixels
from metarl.fewshot.features.base import Encoder
from metarl.fewshot.features.cache import encode
from metarl.fewshot.features.registry import DEFAULTS, make_encoder

_OF_NETWORKS = 224  # pixels of a side of what most pretrained networks take


@dataclass(frozen=True)
class Samples:
    """Samples of a file, with what they are called there."""

    file: str  # in messages
    values: NDArray[np.float32]  # (n, *shape)
    words: list[str]  # (n,) what people know each by: the sentence, the molecule, the row, the path
    lines: list[int]  # (n,) where in the file
    labels: list[str]  # (n,) empty where they are to be predicted


def read_pair(
    support: Path, queries: Path, options: Mapping[str, str], shape: tuple[int, ...] | None, encoder: str, fitted: str
) -> tuple[Samples, Samples, str]:
    """Return the samples of a support and of queries, and the name of the encoder that made them.

    Args:
        support: a table with a column of labels, or a folder ``CLASS/*.png``.
        queries: a table, or a folder of pictures, also in folders of its own.
        options: how tables are read, as ``read_items`` takes them.
        shape: of a sample that the model takes; None where it takes any.
        encoder: its name; the usual one of what the items are unless given.
        fitted: what it was fitted to, in JSON; unless given, it is fitted to both files' items.

    Raises:
        MetaRLError: where a file has no sample that can be used, or the support fewer than two labels.
    """
    if support.is_dir() != queries.is_dir():
        raise MetaRLError(f"{support} and {queries}: give two files, or two folders of pictures.")
    if support.is_dir():
        found = _pictures(support, shape, encoder), _pictures(queries, shape, encoder, labelled=False)
        return (*found, encoder)
    label = options.get("label", "")
    if "," in label:
        raise MetaRLError(f"--label {label}: each of these is a task; predict one of them at a time.")
    given, asked = (read_items(path, options, labelled=mine) for path, mine in ((support, True), (queries, False)))
    made = make_encoder(encoder or DEFAULTS[given.kind], fitted)
    if not fitted:
        made.fit([*given.values, *asked.values])
    labels = given.labels[label.strip()]
    if len(set(labels)) < 2:
        raise MetaRLError(f"{support} has one label, {labels[0]!r}; give samples of two labels or more.")
    return _encoded(given, made, labels), _encoded(asked, made, []), encoder or DEFAULTS[given.kind]


def _encoded(items: Items, encoder: Encoder, labels: list[str]) -> Samples:
    words = [
        each if isinstance(each, str) else ", ".join(f"{name} {cell}" for name, cell in each) for each in items.values
    ]
    return Samples(items.name, encode(encoder, items.values), words, items.lines, labels)


def _pictures(folder: Path, shape: tuple[int, ...] | None, encoder: str, *, labelled: bool = True) -> Samples:
    """Return the pictures of a folder; those that cannot be read are left out, as a warning says."""
    if labelled:
        listed = [(path, name) for name, paths in images_in(folder).items() for path in paths]
    else:
        listed = [(path, "") for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".png", ".jpg", ".jpeg")]
    if encoder:
        size, mode = (_OF_NETWORKS, _OF_NETWORKS), "RGB"
    elif shape is None or len(shape) < 2:
        raise MetaRLError(f"{folder} holds pictures: say what turns them into vectors, --encoder timm:NAME.")
    else:
        size, mode = (shape[-2], shape[-1]), "RGB" if len(shape) == 3 else "L"
    kept, images, broken = [], [], []
    for path, name in listed:
        try:
            images.append(pixels(path, size, mode))
            kept.append((path, name))
        except UNREADABLE:
            broken.append(str(path))
    if broken:
        warnings.warn(f"{len(broken)} pictures cannot be read and are left out: {', '.join(broken[:5])}.", stacklevel=3)
    if not images:
        raise MetaRLError(f"{folder} holds no {'CLASS/' * labelled}*.png or *.jpg that can be read.")
    if labelled and len({name for _, name in kept}) < 2:
        raise MetaRLError(f"{folder} has pictures of one class, {kept[0][1]!r}; give two folders or more.")
    values = encode(make_encoder(encoder), images) if encoder else np.stack(images).astype(np.float32) / np.float32(255)
    return Samples(
        str(folder), values, [str(path) for path, _ in kept], list(range(1, len(kept) + 1)), [n for _, n in kept if n]
    )
