"""What scikit-learn brings: tables, of which each column in turn is what is to be told, and handwritten digits."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.groups import Groups, Task
from metarl.fewshot.data.reader import classes_of_rows

_SPLITS = {"train": ("digits", "diabetes", "linnerud"), "val": ("iris",), "test": ("wine", "breast_cancer")}
_DIGIT_LEVELS = 16  # of ink, that of full ink
_WIDEST = 64  # columns of the widest table, digits
_LEAST = 0.1  # share of the rarer of two labels: a column that is nearly constant makes no task


def sklearn_tables() -> dict[str, Groups]:
    """Return binary tasks on tables, tested on tables that training has not seen, with other columns.

    A task asks whether a column is above its median, or whether a row is of a class, and shows the other columns, each
    standardised over its table. Those of a task come first; what is left of 64 is zero. Columns of a table come in an
    order of the task's own, so that nothing can be learned of their places.
    """
    return {split: _groups(names) for split, names in _SPLITS.items()}


def digits() -> dict[str, Classes]:
    """Return scikit-learn's 1,797 handwritten digits ``(sample, 8, 8)``, full ink 1: ten classes, all to test on."""
    from sklearn.datasets import load_digits  # which takes long to import

    found = load_digits()
    images, labels = np.asarray(found["images"], np.uint8), np.asarray(found["target"])
    rows = {f"digit {value}": np.flatnonzero(labels == value) for value in range(10)}
    return {"test": classes_of_rows(images, rows, 1 / _DIGIT_LEVELS)}


def _groups(names: tuple[str, ...]) -> Groups:
    samples, tasks, first = list[NDArray[np.float32]](), list[Task](), 0
    for name in names:
        for task, columns, labels in _tasks_of(name):
            rows = np.arange(first, first := first + len(labels))
            padded = np.zeros((len(labels), _WIDEST), np.float32)
            padded[:, : columns.shape[1]] = columns
            samples.append(padded)
            tasks.append(Task(f"{name}: {task}", torch.from_numpy(rows), torch.from_numpy(labels.astype(np.int64))))
    return Groups(torch.from_numpy(np.concatenate(samples)), tasks, ("no", "yes"))


def _tasks_of(name: str) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.bool_]]]:
    """Yield each task's name, the columns that it shows ``(row, column)``, and the labels."""
    from sklearn import datasets  # which takes long to import

    table: Mapping[str, NDArray[np.float64]] = getattr(datasets, f"load_{name}")()
    X, y = np.asarray(table["data"], np.float64), np.asarray(table["target"])
    of_classes = y.ndim == 1 and len(np.unique(y)) <= 10
    named = dict(zip(map(str, table["feature_names"]), X.T, strict=True))
    labels = {f"{column} above its median": values > np.median(values) for column, values in named.items()}
    if of_classes:
        labels |= {f"class {value}": y == value for value in np.unique(y)}
    X = (X - X.mean(0)) / X.std(0).clip(1e-9)
    for i, (task, positive) in enumerate(labels.items()):
        if not _LEAST <= positive.mean() <= 1 - _LEAST:
            continue
        order = np.random.Generator(np.random.Philox(key=i)).random(X.shape[1]).argsort()
        shown = order[(order != i) & (X[:, order].std(0) > 0)]  # not the column that is asked for, nor a constant one
        yield task, X[:, shown], positive
