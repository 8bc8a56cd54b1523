"""Data sets of people's own items, turned into vectors once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.groups import Groups, Task
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
    if "train" in items:
        made.fit(items["train"])
    vectors = encode(made, [each for some in items.values() for each in some])
    sources, first = {}, 0
    for split, classes in splits.items():
        rows = {}
        for label, some in classes.items():
            rows[label] = np.arange(first, first + len(some))
            first += len(some)
        sources[split] = classes_of_rows(vectors, rows, 1.0)
    return FewShotDataset(name, sources, encoder, fitted_to(made))


def encoded_groups(
    name: str,
    items: Sequence[Any],
    splits: Mapping[str, Mapping[str, tuple[NDArray[np.int64], torch.Tensor]]],
    classes: tuple[str, ...],
    encoder: str,
) -> FewShotDataset:
    """Return a data set of tasks on vectors.

    Args:
        name: of the data set.
        items: of all tasks; one may be in several.
        splits: split -> task -> which items it has, and their labels.
        classes: what the classes are called; empty where labels are numbers.
        encoder: its name. What it depends on, it learns of the items of training tasks.
    """
    made = make_encoder(encoder)
    if "train" in splits:
        trained = np.unique(np.concatenate([rows for rows, _ in splits["train"].values()]))
        made.fit([items[i] for i in trained])
    vectors = torch.from_numpy(encode(made, items))
    sources = {
        split: Groups(
            vectors, [Task(task, torch.from_numpy(rows), labels) for task, (rows, labels) in tasks.items()], classes
        )
        for split, tasks in splits.items()
    }
    return FewShotDataset(name, sources, encoder, fitted_to(made))
