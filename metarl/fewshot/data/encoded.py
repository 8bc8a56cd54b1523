"""Data sets of people's own items, turned into vectors once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.reader import classes_of_rows
from metarl.fewshot.features.cache import encode
from metarl.fewshot.features.registry import fitted_to, make_encoder


def encoded_classes(name: str, splits: Mapping[str, Mapping[str, Sequence[Any]]], encoder: str) -> FewShotDataset:
    """Return a data set of classes of vectors.

    Args:
        name: of the data set.
        splits: split -> class -> its items. What an encoder depends on, it learns of the training split's.
        encoder: its name.
    """
    made = make_encoder(encoder)
    items = {split: [each for some in classes.values() for each in some] for split, classes in splits.items()}
    made.fit(items.get("train", ()))
    vectors = encode(made, [each for some in items.values() for each in some])
    sources, first = {}, 0
    for split, classes in splits.items():
        rows = {}
        for label, some in classes.items():
            rows[label] = np.arange(first, first + len(some))
            first += len(some)
        sources[split] = classes_of_rows(vectors, rows, 1.0)
    return FewShotDataset(name, sources, encoder, fitted_to(made))
