"""A data set from one's own table: classes to draw tasks of, or tasks that have labels of their own."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.dataset import SPLITS, FewShotDataset, split_by_chance
from metarl.fewshot.data.encoded import encoded_classes, encoded_groups
from metarl.fewshot.data.own.items import Items, read_items
from metarl.fewshot.data.own.table import lines_of
from metarl.fewshot.features.registry import DEFAULTS

_FEW = 2  # values of a label that is a number, up to which they are classes


def dataset_from_table(
    source: Any,
    *,
    label: str,
    text: str = "",
    smiles: str = "",
    task: str = "",
    columns: str = "",
    split: str = "",
    encoder: str = "",
    seed: int = 0,
    name: str = "",
) -> FewShotDataset:
    """Make a data set of the rows of a table.

    Without ``task`` the values of ``label`` are classes, of which tasks are drawn. With it a task is the rows that have
    the same value there; of several labels each is a task. Their labels are classes, or numbers where they are numbers
    of more than two values.

    Args:
        source: a ``.csv``, ``.tsv`` or ``.parquet`` file, a data frame, or a dict of columns.
        label: the column of labels, or several with commas between.
        text: the column of sentences.
        smiles: the column of molecules; without either of both the other columns are numbers and categories.
        task: the column that says of which task a row is.
        columns: those to go by, with commas between; all others unless given.
        split: the column that says train, val or test, the same for all rows of a class or task; without it three
            fifths of the classes or tasks are for training, a fifth each for validation and test, by chance.
        encoder: turns items into vectors; see ``metarl.fewshot.features.registry.make_encoder``.
        seed: decides the split; the same for the same classes or tasks.
        name: of the data set, the file's unless given.
    """
    options = {"label": label, "text": text, "smiles": smiles, "task": task, "columns": columns, "split": split}
    items = read_items(source, options)
    encoder = encoder or DEFAULTS[items.kind]
    if len(items.labels) > 1 or items.tasks:
        return _grouped(name or items.name, items, encoder, seed)
    labels = items.labels[label.strip()]
    by_class = _by(labels)
    # A class of one sample has none to predict beside the one that is given.
    if alone := [value for value, rows in by_class.items() if len(rows) == 1]:
        lines = [items.lines[by_class[value][0]] for value in alone]
        warnings.warn(
            f"{items.name}: labels with one sample are left out: {', '.join(alone[:5])} in {lines_of(lines)}.",
            stacklevel=2,
        )
        by_class = {value: rows for value, rows in by_class.items() if len(rows) > 1}
    splits = _splits(items, by_class, "label", 2, seed)
    content = {
        part: {value: [items.values[i] for i in by_class[value]] for value in listed} for part, listed in splits.items()
    }
    return encoded_classes(name or items.name, content, encoder)


def _grouped(name: str, items: Items, encoder: str, seed: int) -> FewShotDataset:
    """Return the data set of tasks that are groups of rows, or columns."""
    if items.tasks and len(items.labels) > 1:
        raise MetaRLError(f"{items.name}: give one label with --task; several labels are a task each without it.")
    rows: dict[str, list[int]]
    if items.tasks:
        ((label, cells),) = items.labels.items()
        rows = {task: [i for i in some if cells[i]] for task, some in _by(items.tasks).items()}
        values = {task: [cells[i] for i in some] for task, some in rows.items()}
    else:
        label = ", ".join(items.labels)
        rows = {task: [i for i, cell in enumerate(cells) if cell] for task, cells in items.labels.items()}
        values = {task: [items.labels[task][i] for i in some] for task, some in rows.items()}
    known = sorted({value for some in values.values() for value in some})
    numbers = [_number(value) for value in known]
    classes: tuple[str, ...] = () if None not in numbers and len(known) > _FEW else tuple(known)
    if len(known) < _FEW:
        raise MetaRLError(f"{items.name}: every label in {label} is {known}; there is nothing to tell apart.")
    index = {value: (i if classes else number) for i, (value, number) in enumerate(zip(known, numbers, strict=True))}
    if empty := [task for task, cells in values.items() if len(cells) < 2 or (classes and len(set(cells)) < 2)]:
        warnings.warn(
            f"{items.name}: tasks with one labelled row or one class are left out: {', '.join(empty[:5])}"
            f"{f' and {len(empty) - 5} more' if len(empty) > 5 else ''}.",
            stacklevel=3,
        )
        rows = {task: some for task, some in rows.items() if task not in empty}
    splits = _splits(items, rows, "task", 1, seed)
    kind = torch.int64 if classes else torch.float32
    tasks = {
        part: {
            task: (np.array(rows[task]), torch.tensor([index[value] for value in values[task]], dtype=kind))
            for task in listed
        }
        for part, listed in splits.items()
    }
    return encoded_groups(name, items.values, tasks, classes, encoder)


def _by(cells: Sequence[str]) -> dict[str, list[int]]:
    """Return which rows have each value, in the order of the values."""
    found: dict[str, list[int]] = {}
    for i, cell in enumerate(cells):
        found.setdefault(cell, []).append(i)
    return dict(sorted(found.items()))


def _splits(items: Items, rows: Mapping[str, list[int]], what: str, least: int, seed: int) -> dict[str, list[str]]:
    """Return the classes or tasks of each split: as their column says, or by chance."""
    if not items.splits:
        try:
            return split_by_chance(list(rows), seed, least)
        except MetaRLError as error:
            raise MetaRLError(f"{items.name}: {error}") from error
    said = {name: {items.splits[i] for i in some} for name, some in rows.items()}
    if wrong := [name for name, some in said.items() if len(some) > 1 or not some <= set(SPLITS)]:
        raise MetaRLError(
            f"{items.name}: the rows of {what} {wrong[0]!r} are in split {sorted(said[wrong[0]])}; all of them must be "
            f"in one of {', '.join(SPLITS)}, for what is tested must not be trained on."
        )
    by_split = {split: [name for name, some in said.items() if split in some] for split in SPLITS}
    return {split: names for split, names in by_split.items() if names}


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
